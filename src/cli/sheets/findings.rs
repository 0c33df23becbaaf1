//! Findings as a table.

use crate::cli::sheets::{COMPUTED_AT, at, instant, integer, list, text, words};
use crate::pb;
use crate::sheet::{Cell, Column, Language, Sheet};

const FINDINGS: [Column; 22] = [
    text("severity", "Severity", "级别"),
    text("code", "Code", "代码"),
    text("what", "What", "问题"),
    text("explanation", "Why", "说明"),
    text("way_out", "Way out", "处理办法"),
    list("legal", "Law", "法律依据"),
    list("clauses", "Policy", "隐私政策条款"),
    list("about", "About", "涉及对象"),
    integer("count", "Count", "次数"),
    integer("people", "People", "涉及人数"),
    integer("erased_people", "Of these erased since", "其中已删除人数"),
    integer("cured_count", "Cured", "已补正次数"),
    instant("first", "First", "首次"),
    instant("last", "Last", "最近"),
    instant("raised_at", "Cured: raised", "补正前发现时间"),
    instant("cured_at", "Cured: remedy recorded", "补正记录时间"),
    text("state", "State", "状态"),
    text("reason", "Reason of the last act", "最近处理理由"),
    text("key", "Key", "标识"),
    list("positions", "First positions in the log", "日志位置"),
    instant("tick", "Absence judged as of", "缺失判定时间"),
    COMPUTED_AT,
];

pub const SHOWN: [&str; 7] = ["severity", "count", "people", "last", "state", "what", "key"];

pub fn findings(found: &[pb::Finding], from: &pb::FindingBasis, language: Language) -> Sheet {
    let mut sheet = Sheet::new(("Findings", "合规问题"), &FINDINGS);
    for one in found {
        let rule = one.rule.clone().unwrap_or_default();
        let (en, zh) = (rule.en.unwrap_or_default(), rule.zh.unwrap_or_default());
        let mut about: Vec<String> =
            one.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        about.sort();
        sheet.rows.push(vec![
            Cell::text(words::said(words::severity(one.severity()), language)),
            Cell::text(&one.code),
            Cell::text(language.of(&en.title, &zh.title)),
            Cell::text(language.of(&en.explanation, &zh.explanation)),
            Cell::text(language.of(&en.way_out, &zh.way_out)),
            Cell::list(rule.legal),
            Cell::list(rule.clauses),
            Cell::list(about),
            Cell::Integer(one.count),
            one.people.map_or(Cell::Empty, Cell::Integer),
            Cell::Integer(one.erased_people),
            Cell::Integer(one.cured_count),
            at(one.first.as_ref()),
            at(one.last.as_ref()),
            at(one.raised_at.as_ref()),
            at(one.cured_at.as_ref()),
            Cell::text(words::said(words::state(one.state()), language)),
            Cell::text(one.acts.last().map(|act| act.reason.clone()).unwrap_or_default()),
            Cell::text(&one.key),
            Cell::list(one.positions.iter().map(u64::to_string)),
            at(from.tick.as_ref()),
            Cell::Integer(from.computed_at),
        ]);
    }
    sheet
}
