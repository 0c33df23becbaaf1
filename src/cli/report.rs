//! A subject report as a person reads it: one table per question, labels in Chinese and English.

mod gather;

use std::io;

use clap::ValueEnum;

use crate::cli::output::Output;
use crate::domain::time::Timestamp;
use crate::domain::vocabulary::Locale;
use crate::pb;

/// The language of headings and labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Language {
    En,
    Zh,
    Both,
}

impl Language {
    /// The languages it stands for.
    pub fn locales(self) -> &'static [Locale] {
        match self {
            Language::En => &[Locale::En],
            Language::Zh => &[Locale::Zh],
            Language::Both => &[Locale::En, Locale::Zh],
        }
    }

    fn pick(self, en: &str, zh: &str) -> String {
        match self {
            Language::En => en.to_owned(),
            Language::Zh => zh.to_owned(),
            Language::Both => format!("{en} / {zh}"),
        }
    }

    /// A term with its label; unknown ones are marked.
    fn term(self, term: Option<&pb::Term>) -> String {
        let Some(term) = term else { return String::new() };
        let label = match self {
            Language::En => term.label_en.clone(),
            Language::Zh => term.label_zh.clone(),
            Language::Both if term.label_en == term.label_zh => term.label_en.clone(),
            Language::Both => format!("{} {}", term.label_en, term.label_zh),
        };
        match (label.trim(), term.known) {
            ("", true) => term.id.clone(),
            ("", false) => format!("{} (?)", term.id),
            (label, _) => label.to_owned(),
        }
    }

    fn terms(self, terms: &[pb::Term]) -> String {
        let labels: Vec<String> = terms.iter().map(|term| self.term(Some(term))).collect();
        labels.join(", ")
    }
}

/// Headings of a list of events.
pub const EVIDENCE: [&str; 7] = ["position", "occurred", "type", "service", "activity", "emitter", "sealed"];

/// One event of such a list.
pub fn evidence_row(event: &pb::EvidenceEvent) -> Vec<String> {
    let mut kind = event.r#type.clone();
    if let Some(position) = event.retracted_by {
        kind.push_str(&format!(" (retracted by {position})"));
    }
    vec![
        event.position.to_string(),
        time(event.occurred_at.as_ref()),
        kind,
        event.service.clone(),
        event.activity.clone(),
        event.emitter.clone(),
        sealed(event),
    ]
}

/// What was opened of an event, or why it stays closed.
fn sealed(event: &pb::EvidenceEvent) -> String {
    let mut opened: Vec<String> =
        event.opened.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    opened.sort();
    if !event.closed.is_empty() {
        opened.push(format!("({})", event.closed.replace('_', " ")));
    }
    opened.join(", ")
}

/// An instant to the second, in UTC; empty if there is none.
pub fn time(at: Option<&prost_types::Timestamp>) -> String {
    let instant = at.and_then(|at| Timestamp::from_ms(at.seconds.checked_mul(1_000)?));
    instant.map_or(String::new(), |instant| instant.to_string().replace(".000Z", "Z"))
}

/// The day of an instant, in UTC.
fn day(at: Option<&prost_types::Timestamp>) -> String {
    time(at).split('T').next().unwrap_or_default().to_owned()
}

fn safeguards(list: &[pb::Safeguard]) -> String {
    let names: Vec<String> = list.iter().map(|one| short(one.as_str_name(), "SAFEGUARD_")).collect();
    names.join(" ")
}

/// The name of an enum's value without its prefix.
fn short(name: &str, prefix: &str) -> String {
    match name.strip_prefix(prefix).unwrap_or(name) {
        "UNSPECIFIED" => String::new(),
        rest => rest.to_ascii_lowercase().replace('_', " "),
    }
}

fn span(span: Option<&pb::Span>) -> [String; 2] {
    let Some(span) = span else { return [String::new(), String::new()] };
    [span.count.to_string(), time(span.last.as_ref())]
}

/// Prints the whole report.
pub fn print(report: &pb::SubjectReport, language: Language, output: Output) -> io::Result<()> {
    let facts = [
        ("subject", report.subject.clone()),
        ("events", report.event_count.to_string()),
        (
            "retracted",
            if report.retracted_count > 0 { report.retracted_count.to_string() } else { String::new() },
        ),
        ("as of", time(report.as_of.as_ref())),
        ("known at", report.computed_at.to_string()),
        ("merged", report.merged.join(", ")),
        ("services", language.terms(&report.services)),
    ];
    output.facts(&facts)?;
    if report.stale {
        output.note("The views have stopped: newer events are missing. `custody status` says why.");
    }
    data(report, language, output)?;
    parties(report, language, output)?;
    choices(report, language, output)?;
    contacts(report, language, output)?;
    let rows: Vec<Vec<String>> = report.evidence.iter().map(evidence_row).collect();
    section(output, &language.pick("Events as evidence", "事件证据"), &EVIDENCE, &rows)
}

fn section(output: Output, heading: &str, headings: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    output.heading(heading)?;
    output.table(headings, rows)
}

/// What is held, why, and where it came from.
fn data(report: &pb::SubjectReport, language: Language, output: Output) -> io::Result<()> {
    let rows: Vec<Vec<String>> = gather::held(&report.categories)
        .iter()
        .map(|held| {
            let collected = &held.collected;
            vec![
                language.term(held.category.as_ref()),
                language.term(held.record_kind.as_ref()),
                held.service.clone(),
                gather::slots(&held.slots),
                held.stored_in.join(" "),
                held.regimes.join(" "),
                safeguards(&held.safeguards),
                collected.count.to_string(),
                day(collected.first.as_ref()),
                day(collected.last.as_ref()),
                language.terms(&held.purposes),
            ]
        })
        .collect();
    let headings = [
        "category",
        "kind",
        "service",
        "for",
        "stored in",
        "law of",
        "safeguards",
        "times",
        "first",
        "last",
        "purposes",
    ];
    section(output, &language.pick("Personal data held", "持有的个人信息"), &headings, &rows)?;
    kept(report, language, output)?;
    locators(report, language, output)?;

    let rows: Vec<Vec<String>> = gather::served(&report.purposes)
        .iter()
        .map(|served| {
            let last = [&served.used, &served.collected].map(|span| day(span.last.as_ref()));
            vec![
                language.term(served.purpose.as_ref()),
                language.term(served.basis.as_ref()),
                served.services.join(" "),
                served.collected.count.to_string(),
                served.used.count.to_string(),
                last.into_iter().max().unwrap_or_default(),
                served.because.join(", "),
            ]
        })
        .collect();
    let headings = ["purpose", "legal basis", "services", "collections", "uses", "last", "because of"];
    section(output, &language.pick("Purposes and legal bases", "处理目的和合法性基础"), &headings, &rows)?;

    let rows: Vec<Vec<String>> = report
        .sources
        .iter()
        .map(|source| {
            let [count, last] = span(source.collected.as_ref());
            let kind = short(source.source().as_str_name(), "SOURCE_");
            vec![kind, source.emitter.clone(), source.service.clone(), count, last]
        })
        .collect();
    section(
        output,
        &language.pick("Sources", "信息来源"),
        &["source", "emitter", "service", "times", "last"],
        &rows,
    )
}

/// Where the records lie in the source systems, as far as that was opened.
fn locators(report: &pb::SubjectReport, language: Language, output: Output) -> io::Result<()> {
    let rows: Vec<Vec<String>> = report
        .categories
        .iter()
        .flat_map(|held| held.locators.iter().map(move |locator| (held, locator)))
        .map(|(held, locator)| {
            let category = language.term(held.category.as_ref());
            vec![category, held.service.clone(), held.slot.clone(), locator.clone()]
        })
        .collect();
    let headings = ["category", "service", "for", "locator"];
    section(output, &language.pick("Where the records lie", "记录所在位置"), &headings, &rows)
}

/// How long what is held is kept, and why (GDPR 15(1)(d); PIPL 17, 48). Data of which the same is said are one line.
fn kept(report: &pb::SubjectReport, language: Language, output: Output) -> io::Result<()> {
    let mut lines: Vec<(Vec<String>, usize)> = Vec::new();
    for category in &report.categories {
        let Some(kept) = &category.kept else { continue };
        let why = |reason: &pb::RetentionReason| {
            let law = if reason.legal.is_empty() { String::new() } else { format!(" [{}]", reason.legal) };
            format!("{}{law}", language.pick(&reason.en, &reason.zh))
        };
        let line = vec![
            language.term(category.category.as_ref()),
            language.term(category.record_kind.as_ref()),
            category.service.clone(),
            kept.state.clone(),
            kept.due.clone(),
            kept.because.iter().map(why).collect::<Vec<_>>().join("; "),
        ];
        match lines.iter_mut().find(|(known, _)| *known == line) {
            Some((_, count)) => *count += 1,
            None => lines.push((line, 1)),
        }
    }
    let rows: Vec<Vec<String>> = lines
        .into_iter()
        .map(|(mut line, count)| {
            line.insert(3, count.to_string());
            line
        })
        .collect();
    let headings = ["category", "kind", "service", "data", "state", "until", "because"];
    section(output, &language.pick("How long it is kept", "保存期限"), &headings, &rows)
}

/// Who was given data, and where they went.
fn parties(report: &pb::SubjectReport, language: Language, output: Output) -> io::Result<()> {
    let rows: Vec<Vec<String>> = report
        .recipients
        .iter()
        .map(|recipient| {
            let [count, last] = span(recipient.shared.as_ref());
            let name = match recipient.legal_name.as_str() {
                "" => format!("{} (?)", recipient.recipient_id),
                name => name.to_owned(),
            };
            vec![
                name,
                recipient.country.clone(),
                count,
                last,
                safeguards(&recipient.safeguards().collect::<Vec<_>>()),
                language.term(recipient.role_term.as_ref()),
                language.terms(&recipient.categories),
                language.terms(&recipient.purposes),
            ]
        })
        .collect();
    let headings = ["recipient", "country", "times", "last", "safeguards", "role", "categories", "purposes"];
    section(output, &language.pick("Recipients", "接收方"), &headings, &rows)?;

    let rows: Vec<Vec<String>> = report
        .transfers
        .iter()
        .map(|transfer| {
            let [count, last] = span(transfer.transferred.as_ref());
            let to = match transfer.importer_name.as_str() {
                "" => transfer.importer.clone(),
                name => name.to_owned(),
            };
            vec![
                format!("{} → {}", transfer.from_country, transfer.to_country),
                to,
                count,
                last,
                transfer.regimes.join(" "),
                safeguards(&transfer.safeguards().collect::<Vec<_>>()),
                transfer.claimed_mechanisms.join(" "),
                language.terms(&transfer.categories),
            ]
        })
        .collect();
    let headings =
        ["flow", "importer", "times", "last", "law of", "safeguards", "claimed mechanism", "categories"];
    section(output, &language.pick("Transfers abroad", "跨境提供"), &headings, &rows)
}

/// What the person was told, allowed and refused.
fn choices(report: &pb::SubjectReport, language: Language, output: Output) -> io::Result<()> {
    let rows: Vec<Vec<String>> = report
        .consents
        .iter()
        .map(|consent| {
            let last = consent.history.last();
            vec![
                language.term(consent.purpose.as_ref()),
                consent.recipient.clone(),
                short(consent.state().as_str_name(), "CONSENT_STATE_"),
                time(last.and_then(|step| step.at.as_ref())),
                last.map_or(String::new(), |step| step.policy_version.clone()),
            ]
        })
        .collect();
    let headings = ["purpose", "recipient", "state", "since", "policy"];
    section(output, &language.pick("Consents", "同意"), &headings, &rows)?;

    let rows: Vec<Vec<String>> = report
        .permissions
        .iter()
        .map(|permission| {
            vec![
                short(permission.permission().as_str_name(), "PERMISSION_"),
                permission.service.clone(),
                short(permission.state().as_str_name(), "PERMISSION_STATE_"),
                time(permission.since.as_ref()),
            ]
        })
        .collect();
    let headings = ["permission", "service", "state", "since"];
    section(output, &language.pick("Device permissions", "设备权限"), &headings, &rows)?;

    let rows: Vec<Vec<String>> = report
        .notices
        .iter()
        .map(|notice| {
            let [count, last] = span(notice.shown.as_ref());
            let channel = short(notice.channel().as_str_name(), "NOTICE_CHANNEL_");
            vec![notice.policy_version.clone(), notice.locale.clone(), channel, count, last]
        })
        .collect();
    section(
        output,
        &language.pick("Notices shown", "已告知"),
        &["policy", "locale", "channel", "times", "last"],
        &rows,
    )
}

/// Accounts, identifiers, messages, and who of the staff looked.
fn contacts(report: &pb::SubjectReport, language: Language, output: Output) -> io::Result<()> {
    let rows: Vec<Vec<String>> = report
        .accounts
        .iter()
        .map(|account| {
            let (from, to) = (time(account.registered_at.as_ref()), time(account.cancelled_at.as_ref()));
            vec![account.service.clone(), account.account_kind.clone(), from, to]
        })
        .collect();
    section(
        output,
        &language.pick("Accounts", "账户"),
        &["service", "kind", "registered", "cancelled"],
        &rows,
    )?;

    let rows: Vec<Vec<String>> = gather::identifiers(&report.identifiers)
        .iter()
        .map(|identifier| {
            vec![
                short(identifier.kind().as_str_name(), "IDENTIFIER_KIND_"),
                identifier.realm.clone(),
                identifier.value.clone(),
                if identifier.associated_only { "seen with" } else { "names" }.to_owned(),
                time(identifier.from.as_ref()),
                time(identifier.to.as_ref()),
            ]
        })
        .collect();
    let headings = ["kind", "realm", "value", "how", "from", "to"];
    section(output, &language.pick("Identifiers", "标识"), &headings, &rows)?;

    let rows: Vec<Vec<String>> = report
        .messages
        .iter()
        .map(|message| {
            let [count, last] = span(message.sent.as_ref());
            let channel = short(message.channel().as_str_name(), "MESSAGE_CHANNEL_");
            let nature = short(message.nature().as_str_name(), "MESSAGE_NATURE_");
            vec![channel, nature, message.template.clone(), count, last]
        })
        .collect();
    let headings = ["channel", "nature", "template", "times", "last"];
    section(output, &language.pick("Messages sent", "已发送的消息"), &headings, &rows)?;

    let rows: Vec<Vec<String>> = report
        .accesses
        .iter()
        .map(|access| {
            let [count, last] = span(access.accessed.as_ref());
            vec![access.role.clone(), access.reason.clone(), access.from_country.clone(), count, last]
        })
        .collect();
    section(
        output,
        &language.pick("Staff access", "员工访问"),
        &["role", "reason", "from", "times", "last"],
        &rows,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_in_the_language_asked_for() {
        let term = pb::Term {
            id: "pd:Picture".into(),
            label_en: "picture".into(),
            label_zh: "照片".into(),
            known: true,
        };
        assert_eq!(Language::En.term(Some(&term)), "picture");
        assert_eq!(Language::Zh.term(Some(&term)), "照片");
        assert_eq!(Language::Both.term(Some(&term)), "picture 照片");
        let unknown = pb::Term { id: "x:y".into(), ..Default::default() };
        assert_eq!(Language::En.term(Some(&unknown)), "x:y (?)");
    }

    #[test]
    fn an_instant_reads_to_the_second() {
        assert_eq!(time(Some(&prost_types::Timestamp { seconds: 0, nanos: 5 })), "1970-01-01T00:00:00Z");
        assert_eq!(time(None), "");
    }
}
