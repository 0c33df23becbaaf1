//! Records of processing as tables: GDPR 30(1), GDPR 30(2), and the one row that Chinese officers expect.

use crate::cli::sheets::{
    COMPUTED_AT, at, day, flag, instant, integer, label, labels, list, text, texts, words,
};
use crate::pb;
use crate::sheet::{Cell, Column, Language, Sheet};

const RECORDS: [Column; 33] = [
    text("activity", "Activity", "处理活动"),
    integer("revision", "Revision", "版本"),
    text("controller", "Controller", "个人信息处理者"),
    text("credit_code", "Unified social credit code", "统一社会信用代码"),
    list("joint_controllers", "Joint controllers", "共同处理者"),
    text("eu_representative", "EU representative", "欧盟代表"),
    text("cn_agent", "Agent in China", "境内代表"),
    flag("has_contact", "Data protection officer named", "已指定个人信息保护负责人"),
    list("purposes", "Purposes", "处理目的"),
    list("bases", "Legal bases", "合法性基础"),
    list("subjects", "Categories of data subjects", "个人信息主体类别"),
    list("categories", "Categories of personal data", "个人信息种类"),
    flag("sensitive", "Sensitive", "是否敏感"),
    list("sensitive_categories", "Sensitive categories (PIPL 28)", "敏感个人信息"),
    text("record_kind", "Record kind", "记录类型"),
    text("source", "Source", "来源"),
    integer("people", "People", "数量（人）"),
    list("recipients", "Recipients", "接收方"),
    list("transfers", "Third countries and safeguards", "向境外提供及保障措施"),
    list("limits", "Time limits for erasure", "保存期限"),
    list("unlimited", "Purposes without a time limit", "未定保存期限的目的"),
    list("safeguards", "Security measures", "安全措施"),
    list("roles", "Staff roles with access", "可访问的岗位"),
    list("assessments", "Assessments", "影响评估"),
    text("assessment_ref", "Assessment reference", "评估编号"),
    text("service", "System", "系统"),
    text("storage_country", "Stored in", "保存地点"),
    list("regimes", "Law that applies", "适用法律"),
    instant("effective_from", "In force from", "生效时间"),
    instant("last_review", "Last review", "最近审查"),
    instant("last_event", "Last event", "最近事件"),
    instant("as_of", "As of", "截至时间"),
    COMPUTED_AT,
];

/// What of it a terminal shows.
pub const RECORDS_SHOWN: [&str; 9] = [
    "activity",
    "controller",
    "purposes",
    "categories",
    "sensitive",
    "recipients",
    "transfers",
    "limits",
    "last_review",
];

const ROWS: [Column; 17] = [
    text("activity", "Activity", "处理活动"),
    text("controller", "Controller", "个人信息处理者"),
    list("purposes", "Purposes", "处理目的"),
    list("ways", "Way of processing", "处理方式"),
    list("categories", "Categories", "个人信息种类"),
    integer("people", "People", "数量（人）"),
    flag("sensitive", "Sensitive", "敏感性"),
    list("sensitive_categories", "Sensitive categories", "敏感个人信息"),
    text("storage_country", "Stored in", "保存地点"),
    list("limits", "Kept for", "保存期限"),
    list("recipients", "Recipients", "接收方"),
    list("transfers", "Provided abroad", "出境"),
    list("bases", "Legal bases", "合法性基础"),
    list("safeguards", "Security measures", "安全措施"),
    list("assessments", "Impact assessments", "个人信息保护影响评估"),
    instant("last_review", "Last review", "最近审查"),
    COMPUTED_AT,
];

pub const ROWS_SHOWN: [&str; 9] = [
    "activity",
    "purposes",
    "ways",
    "categories",
    "sensitive",
    "storage_country",
    "limits",
    "recipients",
    "transfers",
];

const PROCESSORS: [Column; 16] = [
    text("processor", "Processor", "受托人编号"),
    text("legal_name", "Name", "受托人"),
    flag("in_group", "Company of the group", "集团内公司"),
    text("controller", "Controller", "委托方"),
    list("purposes", "Categories of processing", "处理目的"),
    list("categories", "Categories of personal data", "个人信息种类"),
    list("activities", "Activities", "处理活动"),
    text("contract", "Contract", "合同依据"),
    text("contract_ref", "Contract number", "合同编号"),
    crate::cli::sheets::date("contract_from", "Contract from", "合同起始日"),
    crate::cli::sheets::date("contract_to", "Contract to", "合同到期日"),
    list("transfers", "Third countries and safeguards", "向境外提供及保障措施"),
    list("safeguards", "Security measures", "安全措施"),
    text("country", "Country", "所在国家"),
    instant("as_of", "As of", "截至时间"),
    COMPUTED_AT,
];

pub const PROCESSORS_SHOWN: [&str; 7] =
    ["legal_name", "in_group", "controller", "purposes", "categories", "contract", "transfers"];

/// GDPR 30(1).
pub fn records(records: &[pb::ProcessingRecord], from: &pb::ProcessingBasis, language: Language) -> Sheet {
    let mut sheet = Sheet::new(("Records of processing", "个人信息处理活动记录"), &RECORDS);
    for one in records {
        let controller = one.controller.as_ref();
        let registered = controller.and_then(|controller| controller.registered.as_ref());
        let of = |pick: fn(&pb::ControllerRegistered) -> &String| {
            registered.map(pick).cloned().unwrap_or_default()
        };
        let users = ("users of the service", "服务用户");
        let children = one.directed_at_children.then_some(("children", "未成年人"));
        let subjects = [Some(users), children].into_iter().flatten();
        sheet.rows.push(vec![
            Cell::text(&one.activity),
            Cell::Integer(one.revision),
            Cell::text(controller_name(controller)),
            Cell::text(of(|body| &body.credit_code)),
            texts(&one.joint_controllers),
            Cell::text(of(|body| &body.eu_representative_org)),
            Cell::text(of(|body| &body.cn_agent_org)),
            controller.map_or(Cell::Empty, |controller| Cell::Flag(controller.has_contact)),
            purposes(one, language),
            bases(one, language),
            Cell::list(subjects.map(|word| words::said(word, language))),
            labels(&one.categories, language),
            Cell::Flag(one.sensitive),
            labels(&one.sensitive_categories, language),
            Cell::text(&one.record_kind),
            Cell::text(words::said(words::source(one.source()), language)),
            one.people.map_or(Cell::Empty, Cell::Integer),
            recipients(one, language),
            transfers(&one.transfers, language),
            limits(one, language),
            labels(&one.unlimited, language),
            safeguards(one.safeguards(), language),
            texts(&one.roles),
            assessments(&one.assessments, language),
            Cell::text(&one.assessment_ref),
            Cell::text(&one.service),
            Cell::text(&one.storage_country),
            texts(&one.regimes),
            at(one.effective_from.as_ref()),
            at(one.last_review.as_ref()),
            at(one.last_event.as_ref()),
            at(from.as_of.as_ref()),
            Cell::Integer(from.computed_at),
        ]);
    }
    sheet
}

/// The one-row form: purpose, way, kind, number, sensitivity, place, period, recipient, abroad.
pub fn rows(records: &[pb::ProcessingRecord], from: &pb::ProcessingBasis, language: Language) -> Sheet {
    let mut sheet = Sheet::new(("Processing activities (CN)", "个人信息处理活动台账"), &ROWS);
    for one in records {
        sheet.rows.push(vec![
            Cell::text(&one.activity),
            Cell::text(controller_name(one.controller.as_ref())),
            purposes(one, language),
            ways(one, language),
            labels(&one.categories, language),
            one.people.map_or(Cell::Empty, Cell::Integer),
            Cell::Flag(one.sensitive),
            labels(&one.sensitive_categories, language),
            Cell::text(&one.storage_country),
            limits(one, language),
            recipients(one, language),
            transfers(&one.transfers, language),
            bases(one, language),
            safeguards(one.safeguards(), language),
            assessments(&one.assessments, language),
            at(one.last_review.as_ref()),
            Cell::Integer(from.computed_at),
        ]);
    }
    sheet
}

/// GDPR 30(2).
pub fn processors(records: &[pb::ProcessorRecord], from: &pb::ProcessingBasis, language: Language) -> Sheet {
    let mut sheet = Sheet::new(("Records of processors", "受托处理记录"), &PROCESSORS);
    for one in records {
        let body = one.registered.clone().unwrap_or_default();
        sheet.rows.push(vec![
            Cell::text(&one.processor),
            Cell::text(&body.legal_name),
            Cell::Flag(one.in_group),
            Cell::text(controller_name(one.controller.as_ref())),
            labels(&one.purposes, language),
            labels(&one.categories, language),
            texts(&one.activities),
            Cell::text(words::contract(body.contract_kind())),
            Cell::text(&body.contract_ref),
            day(body.contract_from.as_ref()),
            day(body.contract_to.as_ref()),
            transfers(&one.transfers, language),
            safeguards(one.safeguards(), language),
            Cell::text(&body.country),
            at(from.as_of.as_ref()),
            Cell::Integer(from.computed_at),
        ]);
    }
    sheet
}

fn controller_name(controller: Option<&pb::RecordController>) -> String {
    let Some(controller) = controller else { return String::new() };
    match &controller.registered {
        Some(body) => body.legal_name.clone(),
        None => controller.controller.clone(),
    }
}

fn purposes(one: &pb::ProcessingRecord, language: Language) -> Cell {
    let purposes = one.purposes.iter().filter_map(|purpose| purpose.purpose.as_ref());
    Cell::list(purposes.map(|purpose| label(purpose, language)))
}

fn bases(one: &pb::ProcessingRecord, language: Language) -> Cell {
    let each = one.purposes.iter().filter_map(|purpose| purpose.purpose.as_ref().zip(purpose.basis.as_ref()));
    Cell::list(
        each.map(|(purpose, basis)| format!("{}: {}", label(purpose, language), label(basis, language))),
    )
}

/// By name, as GDPR 15(1)(c) and PIPL 17 want recipients told.
fn recipients(one: &pb::ProcessingRecord, language: Language) -> Cell {
    Cell::list(one.recipients.iter().map(|recipient| match &recipient.registered {
        Some(body) => {
            format!("{} ({}, {})", body.legal_name, words::role(body.role(), language), body.country)
        }
        None => format!("{} ({})", recipient.recipient, language.of("not registered", "未登记")),
    }))
}

fn transfers(transfers: &[pb::RecordTransfer], language: Language) -> Cell {
    Cell::list(transfers.iter().map(|one| {
        let name = if one.importer_name.is_empty() { &one.importer } else { &one.importer_name };
        let outcome = words::said(words::outcome(one.outcome()), language);
        let by = if one.allowed_by.is_empty() { String::new() } else { format!(" {}", one.allowed_by) };
        format!("{} → {}: {name} ({outcome}{by})", one.from_country, one.to_country)
    }))
}

fn limits(one: &pb::ProcessingRecord, language: Language) -> Cell {
    Cell::list(one.limits.iter().filter_map(|limit| {
        let rule = limit.rule.as_ref()?;
        let after = words::said(words::anchor(rule.anchor()), language);
        let kind = match rule.kind() {
            pb::RuleKind::Keep => ("at most", "不超过"),
            pb::RuleKind::Floor => ("at least", "不少于"),
            pb::RuleKind::Cap => ("in no case beyond", "最长"),
            pb::RuleKind::Unspecified => ("", ""),
        };
        let since = language.of("from", "自");
        let legal = if rule.legal.is_empty() { String::new() } else { format!(", {}", rule.legal) };
        // A citation may hold what separates a list.
        let legal = legal.replace([';', '；', '、'], ",");
        Some(format!("{} {} {since} {after} ({}{legal})", words::said(kind, language), rule.period, rule.id))
    }))
}

fn safeguards(safeguards: impl Iterator<Item = pb::Safeguard>, language: Language) -> Cell {
    Cell::list(safeguards.map(|one| words::said(words::safeguard(one), language)))
}

pub(super) fn assessments(made: &[pb::AssessmentMade], language: Language) -> Cell {
    Cell::list(made.iter().map(|one| {
        let day = at(one.at.as_ref()).shown(language);
        let day = day.split('T').next().unwrap_or_default();
        let (kind, result) = (words::assessment(one.kind()), words::result(one.result()));
        format!("{} {day}: {}", words::said(kind, language), words::said(result, language))
    }))
}

const COLLECTION: words::Word = ("collection", "收集");

/// What is done with the data: where they come from, and to whom they go in which capacity.
fn ways(one: &pb::ProcessingRecord, language: Language) -> Cell {
    let source = words::source(one.source());
    let mut ways = vec![COLLECTION, ("storage and use", "存储和使用")];
    let mut add = |word| {
        if !ways.contains(&word) {
            ways.push(word);
        }
    };
    for body in one.recipients.iter().filter_map(|recipient| recipient.registered.as_ref()) {
        add(match body.role() {
            pb::RecipientRole::Processor => ("entrusted processing", "委托处理"),
            pb::RecipientRole::JointController => ("joint processing", "共同处理"),
            pb::RecipientRole::Authority => ("disclosure to an authority", "向主管机关提供"),
            _ => ("provision to others", "向其他处理者提供"),
        });
    }
    if !one.transfers.is_empty() {
        add(("provision abroad", "向境外提供"));
    }
    let source = words::said(source, language);
    let said = ways.into_iter().map(|way| match words::said(way, language) {
        text if way == COLLECTION && !source.is_empty() => format!("{text} ({source})"),
        text => text,
    });
    Cell::list(said)
}
