//! The register of transfers as a table, in the columns of a 个人信息出境台账.

use std::collections::BTreeMap;

use crate::cli::sheets::{
    COMPUTED_AT, at, date, day, flag, instant, integer, labels, list, term, text, texts, words,
};
use crate::pb;
use crate::sheet::{Cell, Column, Language, Sheet};

const TRANSFERS: [Column; 45] = [
    text("mechanism", "Mechanism", "出境机制编号"),
    text("outcome", "Judgement", "判定"),
    list("claims", "Claimed by the emitter", "上报方声称的机制"),
    text("regime", "Law", "适用法律"),
    text("kind", "Kind of mechanism", "机制类型"),
    integer("module", "Module", "模块"),
    text("exporter", "Exporter", "提供方"),
    text("importer", "Importer", "境外接收方编号"),
    text("importer_name", "Importer's name", "境外接收方"),
    text("importer_contact", "Importer's contact", "境外接收方联系人"),
    text("importer_privacy_url", "Importer's privacy policy", "境外接收方隐私政策链接"),
    text("from_country", "From", "出境地"),
    text("to_country", "To", "目的地"),
    list("modes", "Mode", "出境方式"),
    text("purpose", "Purpose", "目的"),
    list("categories", "Categories", "个人信息种类"),
    flag("sensitive", "Sensitive", "是否敏感"),
    integer("year_general", "People this year, general", "本年度累计人数（一般）"),
    integer("year_sensitive", "People this year, sensitive", "本年度累计人数（敏感）"),
    text("frequency", "Frequency", "频率"),
    instant("signed_at", "Signed", "签署时间"),
    date("effective_at", "In force from", "生效日"),
    date("expires_at", "Last day", "到期日"),
    instant("tia_at", "TIA", "传输影响评估时间"),
    text("tia_result", "TIA result", "传输影响评估结论"),
    instant("pipia_at", "PIPIA", "个人信息保护影响评估报告时间"),
    text("pipia_result", "PIPIA result", "个人信息保护影响评估结论"),
    list("measures", "Supplementary measures", "补充措施"),
    text("annex_sha256", "Annex SHA-256", "附件 SHA-256"),
    text("filing_number", "Filing number", "备案号"),
    instant("filed_at", "Filed", "备案提交时间"),
    instant("accepted_at", "Accepted", "备案通过时间"),
    text("competent_authority", "Competent authority", "主管机关"),
    text("tier", "Asked for by the number of people", "数量分档"),
    text("exemption", "Exemption", "豁免条款"),
    list("shortfalls", "Falls short in", "不足之处"),
    integer("count", "Transfers", "次数"),
    integer("people", "People", "人数"),
    text("separate_consent_rate", "Separate-consent rate", "单独同意率"),
    instant("first", "First transfer", "首次出境"),
    instant("last", "Last transfer", "最近出境"),
    list("findings", "Open findings", "未关闭的问题"),
    list("positions", "First positions in the log", "日志位置"),
    text("law", "Law data", "法律数据版本"),
    COMPUTED_AT,
];

pub const SHOWN: [&str; 11] = [
    "exporter",
    "importer_name",
    "from_country",
    "to_country",
    "purpose",
    "outcome",
    "mechanism",
    "claims",
    "count",
    "people",
    "last",
];

const COUNTERS: [Column; 16] = [
    text("exporter", "Exporter", "提供方"),
    integer("year", "Year", "年度"),
    integer("general", "People, general", "人数（一般）"),
    integer("general_erased", "Of these erased since", "其中已删除（一般）"),
    integer("general_collective", "Of these by number only", "其中仅报人数（一般）"),
    integer("sensitive", "People, sensitive", "人数（敏感）"),
    integer("sensitive_erased", "Of these erased since, sensitive", "其中已删除（敏感）"),
    integer("sensitive_collective", "Of these by number only, sensitive", "其中仅报人数（敏感）"),
    text("tier", "Asked for", "数量分档"),
    text("article", "Article", "条款"),
    list("kinds", "Kinds of mechanisms that do", "可用的机制类型"),
    text("next_tier", "Next tier", "下一档"),
    integer("next_general", "More people to it, general", "距下一档人数（一般）"),
    integer("next_sensitive", "More people to it, sensitive", "距下一档人数（敏感）"),
    text("law", "Law data", "法律数据版本"),
    COMPUTED_AT,
];

pub const COUNTERS_SHOWN: [&str; 8] =
    ["exporter", "year", "general", "sensitive", "tier", "next_tier", "next_general", "next_sensitive"];

/// The numbers of exports from China, an exporter's year a row.
pub fn counters(counters: &[pb::ExportCounter], from: &pb::TransferBasis, language: Language) -> Sheet {
    let mut sheet = Sheet::new(("Exports from China", "个人信息出境人数"), &COUNTERS);
    let people = |people: &Option<pb::ExportedPeople>| {
        let numbers = people.as_ref().map(|people| [people.count, people.erased, people.collective]);
        numbers.unwrap_or_default().map(Cell::Integer)
    };
    for one in counters {
        let next = |more: u64| if one.next_tier.is_empty() { Cell::Empty } else { Cell::Integer(more) };
        let mut row = vec![Cell::text(&one.exporter), Cell::Integer(one.year.into())];
        row.extend(people(&one.general));
        row.extend(people(&one.sensitive));
        row.extend([
            Cell::text(language.of(&one.tier_label_en, &one.tier_label_zh)),
            Cell::text(&one.article),
            texts(&one.kinds),
            Cell::text(&one.next_tier),
            next(one.next_general),
            next(one.next_sensitive),
            Cell::text(&from.law),
            Cell::Integer(from.computed_at),
        ]);
        sheet.rows.push(row);
    }
    sheet
}

/// What stands beside the lines of the register.
#[derive(Debug, Default)]
pub struct Beside {
    pub from: pb::TransferBasis,
    pub counters: Vec<pb::ExportCounter>,
    /// Those that are not closed.
    pub findings: Vec<pb::Finding>,
}

pub fn transfers(lines: &[pb::TransferLine], beside: &Beside, language: Language) -> Sheet {
    let mut sheet = Sheet::new(("Transfers", "个人信息出境台账"), &TRANSFERS);
    sheet.rows.extend(lines.iter().map(|line| row(line, beside, language)));
    sheet
}

fn row(line: &pb::TransferLine, beside: &Beside, language: Language) -> Vec<Cell> {
    let exempt = line.outcome() == pb::TransferOutcome::Exemption;
    let mechanism = line.mechanism.clone().unwrap_or_default();
    let filing = mechanism.filing.clone().unwrap_or_default();
    let name = if line.importer_name.is_empty() { &line.importer } else { &line.importer_name };
    let counter = counter(line, &beside.counters);
    let people = |people: fn(&pb::ExportCounter) -> &Option<pb::ExportedPeople>| {
        let people = counter.and_then(|counter| people(counter).as_ref());
        people.map_or(Cell::Empty, |people| Cell::Integer(people.count))
    };
    let (tia, pipia) = (newest(line, pb::AssessmentKind::Tia), newest(line, pb::AssessmentKind::Pipia));
    let result = |made: Option<&pb::AssessmentMade>| {
        made.map_or(Cell::Empty, |made| Cell::text(words::said(words::result(made.result()), language)))
    };
    vec![
        if exempt { Cell::Empty } else { Cell::text(&line.allowed_by) },
        Cell::text(words::said(words::outcome(line.outcome()), language)),
        texts(&line.claims),
        Cell::text(words::regime(line.regime())),
        Cell::text(&mechanism.kind),
        mechanism.module.map_or(Cell::Empty, Cell::Integer),
        Cell::text(&line.exporter),
        Cell::text(&line.importer),
        Cell::text(name),
        Cell::text(words::said(words::on_file(line.importer_has_contact), language)),
        Cell::text(&line.importer_privacy_url),
        Cell::text(&line.from_country),
        Cell::text(&line.to_country),
        Cell::list(line.modes().map(|mode| words::said(words::mode(mode), language))),
        term(line.purpose.as_ref(), language),
        labels(&line.categories, language),
        Cell::Flag(line.sensitive),
        people(|counter| &counter.general),
        people(|counter| &counter.sensitive),
        Cell::text(words::said(words::frequency(mechanism.frequency()), language)),
        at(mechanism.signed_at.as_ref()),
        day(mechanism.effective_at.as_ref()),
        day(mechanism.expires_at.as_ref()),
        at(tia.and_then(|made| made.at.as_ref())),
        result(tia),
        at(pipia.and_then(|made| made.at.as_ref())),
        result(pipia),
        texts(&mechanism.measures),
        Cell::text(hex(&mechanism.annex_sha256)),
        Cell::text(&filing.number),
        at(filing.filed_at.as_ref()),
        at(filing.accepted_at.as_ref()),
        Cell::text(&mechanism.competent_authority),
        counter.map_or(Cell::Empty, |tier| Cell::text(language.of(&tier.tier_label_en, &tier.tier_label_zh))),
        if exempt { Cell::text(&line.allowed_by) } else { Cell::Empty },
        Cell::list(line.shortfalls().map(|short| words::said(shortfall(short), language))),
        Cell::Integer(line.count),
        Cell::Integer(line.people),
        line.separate_consent.as_ref().map_or(Cell::Empty, rate),
        at(line.first.as_ref()),
        at(line.last.as_ref()),
        Cell::list(open(line, &beside.findings)),
        Cell::list(line.positions.iter().map(u64::to_string)),
        Cell::text(&beside.from.law),
        Cell::Integer(beside.from.computed_at),
    ]
}

/// A share with what it is a share of, because of few people a percentage says little.
fn rate(of: &pb::SeparateConsent) -> Cell {
    let pb::SeparateConsent { asked, consented } = *of;
    match u128::from(asked) {
        0 => Cell::text("0 / 0"),
        all => {
            // Rounded down, so that what is not everybody never reads as all.
            let tenths = u128::from(consented) * 1_000 / all;
            Cell::text(format!("{}.{} % ({consented} / {asked})", tenths / 10, tenths % 10))
        }
    }
}

/// The exporter's numbers of the year of the last transfer, where it left China.
fn counter<'a>(line: &pb::TransferLine, counters: &'a [pb::ExportCounter]) -> Option<&'a pb::ExportCounter> {
    let Cell::Instant(last) = at(line.last.as_ref()) else { return None };
    let year = last.local_date(chrono_tz::Asia::Shanghai);
    let mine = |counter: &&pb::ExportCounter| {
        counter.exporter == line.exporter && counter.year.to_string() == year.format("%Y").to_string()
    };
    counters.iter().find(mine).filter(|_| line.regime() == pb::TransferRegime::Cn)
}

fn newest(line: &pb::TransferLine, kind: pb::AssessmentKind) -> Option<&pb::AssessmentMade> {
    line.assessments.iter().rfind(|made| made.kind() == kind)
}

fn shortfall(short: pb::Shortfall) -> words::Word {
    match short {
        pb::Shortfall::Categories => ("categories", "个人信息种类"),
        pb::Shortfall::Purposes => ("purposes", "目的"),
        pb::Shortfall::Country => ("country", "目的地"),
        pb::Shortfall::Sensitive => ("sensitive data", "敏感个人信息"),
        pb::Shortfall::Unspecified => ("", ""),
    }
}

/// Codes of findings about a line: about transfers, and nothing that their key names is another's.
fn open(line: &pb::TransferLine, findings: &[pb::Finding]) -> Vec<String> {
    let purpose = line.purpose.as_ref().map(|purpose| purpose.id.as_str());
    let ours: BTreeMap<&str, Option<&str>> = BTreeMap::from([
        ("mechanism", Some(line.allowed_by.as_str()).filter(|id| !id.is_empty())),
        ("exporter", Some(line.exporter.as_str())),
        ("importer", Some(line.importer.as_str())),
        ("country", Some(line.to_country.as_str())),
        ("purpose", purpose),
    ]);
    let about = |found: &&pb::Finding| {
        let same = |(field, value): (&String, &String)| {
            ours.get(field.as_str()).is_none_or(|ours| *ours == Some(value.as_str()))
        };
        let names_us = found.fields.keys().any(|field| ["mechanism", "importer"].contains(&field.as_str()));
        (found.code.starts_with("F-TRANSFER") || found.code.starts_with("F-CN-"))
            && names_us
            && found.fields.iter().all(same)
    };
    let mut codes: Vec<String> = findings.iter().filter(about).map(|found| found.code.clone()).collect();
    codes.dedup();
    codes
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
