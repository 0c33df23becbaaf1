//! The list beside a letter: whom and which data each number is about, and columns for the answer, which come back filled
//! in. It says what is to be done, never why (`domain.md` 6.7).

use crate::cli::sheets::{at, instant, integer, list, text};
use crate::pb;
use crate::sheet::{Cell, Column, Kind, Sheet};

const INSTRUCTIONS: [Column; 18] = [
    text("instruction_id", "Number", "编号"),
    text("kind", "To do", "事项"),
    list("identifiers", "Person", "个人标识"),
    text("service", "Service", "产品或服务"),
    text("record_kind", "Kind of record", "记录类型"),
    text("category", "Category of data", "个人信息种类"),
    text("slot", "Part", "分区"),
    instant("collected_before", "Collected before", "收集时间早于"),
    instant("due", "Answer by", "答复期限"),
    integer("reminders", "Reminder", "催告次数"),
    Column::new(
        "outcome",
        "Answer: done, refused, impossible, deferred",
        "答复：已执行、拒绝、无法执行、延期",
        Kind::Text,
    ),
    text("ground", "Why not", "未执行的理由"),
    instant("executed_at", "Done at", "执行时间"),
    text("method", "Method", "方法"),
    list("stores", "Gone from", "所涉存储"),
    instant("backups_expire_at", "Last backup ends", "最后备份到期时间"),
    text("reid_test_ref", "Re-identification test", "重识别测试编号"),
    instant("review_at", "Put off until", "延期至"),
];

/// `named` says what a kind is called, and an identifier.
pub fn instructions(
    all: &[pb::Instruction],
    kind: impl Fn(pb::InstructionKind) -> String,
    named: impl Fn(&pb::Identifier) -> String,
) -> Sheet {
    let mut sheet = Sheet::new(("Instructions", "处理指示清单"), &INSTRUCTIONS);
    for one in all {
        let mut row = vec![
            Cell::text(&one.instruction_id),
            Cell::text(kind(one.kind())),
            Cell::list(one.identifiers.iter().map(&named)),
            Cell::text(&one.service),
            Cell::text(&one.record_kind),
            Cell::text(&one.category),
            Cell::text(&one.slot),
            at(one.collected_before.as_ref()),
            at(one.due.as_ref()),
            Cell::Integer(u64::from(one.reminders)),
        ];
        row.resize(INSTRUCTIONS.len(), Cell::Empty);
        sheet.rows.push(row);
    }
    sheet
}
