//! The columns of each register, and the way between a row of a sheet and the body of a register event. A column
//! is named by the field's path in `proto/`, so that what is exported can be imported again.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use serde_json::{Map, Value, json};

use crate::app::own::EMITTER;
use crate::cli::json as wire;
use crate::cli::sheets::{COMPUTED_AT, date, flag, instant, integer, list, text};
use crate::domain::id::Id;
use crate::pb;
use crate::sheet::{Cell, Column, Kind};

/// A register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Register {
    Controller,
    Service,
    Activity,
    Recipient,
    Mechanism,
    Assessment,
    Policy,
    RetentionRule,
    Hold,
    Breach,
    Mapping,
    Law,
}

/// How a value of an event stands in a cell, where it is not one value or a list of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    /// Purposes with their bases: `payment:contract`.
    Bases,
    /// A hash, in hexadecimal.
    Hash,
    /// Texts by their language: `zh=` and a hash.
    Texts,
    /// Categories by purpose: `payment=pd:UID+x:imei`.
    Declared,
    /// Who approved it, by the names they have in custody. They are people of the event and no part of its body: they
    /// are read, and never written.
    Approvers,
}

/// A column with its field's path, which is the column's name.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub column: Column,
    form: Form,
}

const fn plain(column: Column) -> Field {
    Field { column, form: Form::Plain }
}

const fn formed(form: Form, column: Column) -> Field {
    Field { column, form }
}

/// Whoever approves a change, which a shorter period needs somebody else than its publisher for.
pub const APPROVED_BY: &str = "approved_by";

const REASON: Field = plain(text("reason", "Reason of the change", "变更理由"));

const CONTROLLER: &[Field] = &[
    plain(text("controller", "Controller", "处理者编号")),
    plain(text("legal_name", "Legal name", "名称")),
    plain(text("country", "Country", "国家或地区")),
    plain(text("credit_code", "Unified social credit code", "统一社会信用代码")),
    plain(list("establishments", "Establishments", "营业地")),
    plain(text("eu_representative_org", "EU representative", "欧盟代表")),
    plain(text("cn_agent_org", "Agent in China", "境内代表")),
    plain(text("lead_authority", "Lead authority", "主导监管机关")),
    REASON,
];

const SERVICE: &[Field] = &[
    plain(text("service", "Service", "服务")),
    plain(text("owner", "Controller", "个人信息处理者")),
    plain(text("storage_country", "Stored in", "保存地点")),
    plain(text("tz", "Time zone", "时区")),
    plain(list("emitters", "Emitters", "上报方")),
    plain(instant("evidence_from", "Complete from", "记录完整起始时间")),
    plain(integer("silence_after_minutes", "Silent after minutes", "静默告警分钟数")),
    plain(list("account_services", "Services on its accounts", "使用其账号的服务")),
    plain(flag("directed_at_children", "Directed at children", "面向儿童")),
    plain(text("successor_custodian", "Successor", "承接方")),
    REASON,
];

const ACTIVITY: &[Field] = &[
    plain(text("activity", "Activity", "处理活动")),
    plain(text("service", "Service", "服务")),
    formed(Form::Bases, list("purposes", "Purposes with bases", "处理目的及合法性基础")),
    plain(list("cats", "Categories", "个人信息种类")),
    plain(text("record_kind", "Record kind", "记录类型")),
    plain(list("roles", "Staff roles", "岗位")),
    plain(list("required", "Necessary categories", "必要的种类")),
    plain(text("source", "Source", "来源")),
    plain(list("regimes", "Law that applies", "适用法律")),
    plain(flag("sensitive", "Sensitive", "是否敏感")),
    plain(list("safeguards", "Security measures", "安全措施")),
    plain(list("recipients", "Recipients", "接收方")),
    plain(text("assessment_ref", "Assessment", "评估编号")),
    plain(instant("effective_at", "Effective", "生效时间")),
    REASON,
];

const RECIPIENT: &[Field] = &[
    plain(text("recipient_id", "Recipient", "接收方")),
    plain(text("legal_name", "Legal name", "名称")),
    plain(text("role", "Capacity", "身份")),
    plain(text("country", "Country", "国家或地区")),
    plain(text("contract_kind", "Contract", "合同依据")),
    plain(text("contract_ref", "Contract number", "合同编号")),
    plain(date("contract_from.date", "Contract from", "合同起始日")),
    plain(text("contract_from.tz", "Zone of the first day", "起始日时区")),
    plain(date("contract_to.date", "Contract to", "合同到期日")),
    plain(text("contract_to.tz", "Zone of the last day", "到期日时区")),
    plain(list("cats", "Categories", "个人信息种类")),
    plain(list("purposes", "Purposes", "目的")),
    plain(text("sdk.name", "SDK", "SDK 名称")),
    plain(list("sdk.versions", "SDK versions", "SDK 版本")),
    plain(text("sdk.package", "SDK package", "SDK 包名")),
    plain(text("privacy_url", "Privacy policy", "隐私政策链接")),
    plain(text("channel", "Channel", "指令渠道")),
    REASON,
];

const MECHANISM: &[Field] = &[
    plain(text("mechanism_id", "Mechanism", "出境机制编号")),
    plain(text("regime", "Law", "适用法律")),
    plain(text("kind", "Kind", "机制类型")),
    plain(integer("module", "Module", "模块")),
    plain(text("exporter", "Exporter", "提供方")),
    plain(text("importer", "Importer", "境外接收方")),
    plain(text("importer_country", "Importer's country", "目的地")),
    plain(list("cats", "Categories", "个人信息种类")),
    plain(flag("sensitive", "Sensitive", "是否敏感")),
    plain(list("purposes", "Purposes", "目的")),
    plain(text("frequency", "Frequency", "频率")),
    plain(instant("signed_at", "Signed", "签署时间")),
    plain(date("effective_at.date", "In force from", "生效日")),
    plain(text("effective_at.tz", "Zone of the first day", "生效日时区")),
    plain(date("expires_at.date", "Last day", "到期日")),
    plain(text("expires_at.tz", "Zone of the last day", "到期日时区")),
    formed(Form::Hash, text("annex_sha256", "Annex SHA-256", "附件 SHA-256")),
    plain(text("tia_ref", "TIA", "传输影响评估")),
    plain(text("pipia_ref", "PIPIA", "个人信息保护影响评估")),
    plain(list("measures", "Supplementary measures", "补充措施")),
    plain(text("competent_authority", "Competent authority", "主管机关")),
    plain(text("filing.number", "Filing number", "备案号")),
    plain(instant("filing.filed_at", "Filed", "备案提交时间")),
    plain(instant("filing.accepted_at", "Accepted", "备案通过时间")),
    REASON,
];

const ASSESSMENT: &[Field] = &[
    plain(text("kind", "Kind", "评估类型")),
    plain(text("subject_matter", "Subject matter", "评估对象")),
    plain(text("result", "Result", "结论")),
    plain(instant("valid_until", "Valid until", "有效期至")),
    formed(Form::Hash, text("document_sha256", "Document SHA-256", "文件 SHA-256")),
    REASON,
];

const POLICY: &[Field] = &[
    plain(text("policy_id", "Policy", "政策")),
    plain(text("version", "Version", "版本")),
    plain(text("service", "Service", "服务")),
    plain(text("overrides", "Prevails over", "优先于")),
    formed(Form::Texts, list("locales", "Texts by language", "各语言文本")),
    formed(Form::Declared, list("declared", "Declared categories by purpose", "按目的声明的种类")),
    plain(instant("effective_at", "Effective", "生效时间")),
    plain(text("change_kind", "Change", "变更性质")),
    REASON,
];

const RETENTION_RULE: &[Field] = &[
    plain(text("rule.id", "Rule", "规则")),
    plain(text("rule.kind", "Kind", "规则类型")),
    plain(list("rule.matches.purposes", "Purposes", "目的")),
    plain(list("rule.matches.categories", "Categories", "个人信息种类")),
    plain(list("rule.matches.record_kinds", "Record kinds", "记录类型")),
    plain(list("rule.matches.regimes", "Law that applies", "适用法律")),
    plain(text("rule.anchor", "Runs from", "起算点")),
    plain(list("rule.causes", "Only after", "仅限终止原因")),
    plain(text("rule.period", "Period", "期限")),
    plain(flag("rule.year_end", "From the year's end", "自年末起算")),
    plain(text("rule.tz", "Time zone", "时区")),
    plain(text("rule.on_expiry", "Then", "到期处理")),
    plain(text("rule.law_of", "Law of the floor", "法定期限所属法律")),
    plain(text("rule.legal", "Citation", "法律依据")),
    plain(date("rule.from", "From", "生效日")),
    plain(date("rule.to", "To", "失效日")),
    plain(text("rule.replaces", "Replaces", "替代")),
    formed(Form::Approvers, list(APPROVED_BY, "Approved by", "批准人")),
    REASON,
];

const HOLD: &[Field] = &[
    plain(text("hold_id", "Hold", "保全编号")),
    plain(text("service", "Service", "服务")),
    plain(text("record_kind", "Record kind", "记录类型")),
    plain(text("category", "Category", "个人信息种类")),
    plain(text("ground", "Ground", "理由")),
    plain(text("legal_ref", "Law", "法律依据")),
    plain(text("assessment_ref", "Assessment", "评估编号")),
    plain(instant("review_at", "Review", "复核时间")),
    plain(flag("confidential", "Confidential", "保密")),
    REASON,
];

const BREACH: &[Field] = &[
    plain(text("breach_id", "Breach", "事件编号")),
    plain(instant("detected_at", "Detected", "发现时间")),
    plain(instant("aware_at", "Aware", "知悉时间")),
    plain(list("kind", "Kinds", "类型")),
    plain(list("cats", "Categories", "个人信息种类")),
    plain(integer("subjects", "People", "人数")),
    plain(integer("records", "Records", "记录数")),
    REASON,
];

const MAPPING: &[Field] = &[
    plain(text("kind", "Kind of term", "词条类型")),
    plain(text("term", "Term", "词条")),
    plain(text("emitter", "Emitter", "上报方")),
    plain(text("maps_to", "Means", "映射为")),
    REASON,
];

const LAW: &[Field] = &[
    plain(text("name", "Name", "名称")),
    plain(text("version", "Version", "版本")),
    formed(Form::Hash, text("sha256", "SHA-256", "SHA-256")),
    plain(instant("effective_at", "Effective", "生效时间")),
    REASON,
];

/// What is known of an entry beside what it says; written, and not read again.
pub const BESIDE: [Column; 5] = [
    text("state", "State", "状态"),
    instant("effective_from", "Counts from", "起算时间"),
    instant("effective_to", "Counts until", "截止时间"),
    integer("position", "Position in the log", "日志位置"),
    COMPUTED_AT,
];

impl Register {
    pub fn fields(self) -> &'static [Field] {
        match self {
            Register::Controller => CONTROLLER,
            Register::Service => SERVICE,
            Register::Activity => ACTIVITY,
            Register::Recipient => RECIPIENT,
            Register::Mechanism => MECHANISM,
            Register::Assessment => ASSESSMENT,
            Register::Policy => POLICY,
            Register::RetentionRule => RETENTION_RULE,
            Register::Hold => HOLD,
            Register::Breach => BREACH,
            Register::Mapping => MAPPING,
            Register::Law => LAW,
        }
    }

    pub fn columns(self) -> Vec<Column> {
        self.fields().iter().map(|field| field.column).collect()
    }

    pub fn title(self) -> (&'static str, &'static str) {
        match self {
            Register::Controller => ("Controllers", "个人信息处理者"),
            Register::Service => ("Services", "服务"),
            Register::Activity => ("Activities", "处理活动"),
            Register::Recipient => ("Recipients", "接收方"),
            Register::Mechanism => ("Transfer mechanisms", "出境机制"),
            Register::Assessment => ("Assessments", "影响评估"),
            Register::Policy => ("Policies", "隐私政策"),
            Register::RetentionRule => ("Retention rules", "保存期限规则"),
            Register::Hold => ("Legal holds", "法律保全"),
            Register::Breach => ("Breaches", "个人信息安全事件"),
            Register::Mapping => ("Mappings", "词条映射"),
            Register::Law => ("Law data", "法律数据"),
        }
    }

    /// The field of the event by which an entry is registered. An assessment of a third country's law has an
    /// event of its own.
    fn body(self, row: &Map<String, Value>) -> &'static str {
        match self {
            Register::Controller => "controller_registered",
            Register::Service => "service_registered",
            Register::Activity => "activity_registered",
            Register::Recipient => "recipient_registered",
            Register::Mechanism => "transfer_mechanism_registered",
            Register::Assessment if row.get("kind") == Some(&json!("tia")) => "transfer_assessed",
            Register::Assessment => "assessment_recorded",
            Register::Policy => "policy_published",
            Register::RetentionRule => "retention_rule_published",
            Register::Hold => "legal_hold_placed",
            Register::Breach => "breach_detected",
            Register::Mapping => "mapping_added",
            Register::Law => "law_data_activated",
        }
    }

    /// The cells of an entry, from the event that says it, in the order of the columns.
    pub fn cells(self, event: &pb::Event) -> Result<Vec<Cell>, String> {
        let failed = |why: &dyn std::fmt::Display| format!("an entry of {}: {why}", self.title().0);
        let text = wire::text("Event", event).map_err(|why| failed(&why.message))?;
        let mut event: Value = serde_json::from_str(&text).map_err(|why| failed(&why))?;
        wire::shorten("Event", &mut event);
        let names = ["transfer_assessed", self.body(&Map::new())];
        let body = names.iter().find_map(|name| event.get(*name)).cloned().unwrap_or_default();
        self.fields().iter().map(|field| field.cell(&body).map_err(|why| failed(&why))).collect()
    }

    /// The event that says what a row says. An error names the column's field.
    pub fn event(self, cells: &[Cell]) -> Result<pb::Event, (&'static str, String)> {
        let mut row = Map::new();
        for (field, cell) in self.fields().iter().zip(cells) {
            let value = field.value(cell).map_err(|why| (field.column.field, why))?;
            if let Some(value) = value {
                put(&mut row, field.column.field, value);
            }
        }
        let (body, approvers) = (self.body(&row), row.remove(APPROVED_BY));
        let mut event = json!({ body: row });
        if let Some(names) = approvers {
            event["people"] = approvers_of(&names).map_err(|why| (APPROVED_BY, why))?;
        }
        // What is no word of its enum is told before all of it is refused for that.
        if let Some(path) = wire::spell_out_all("Event", &mut event) {
            let path = path.strip_prefix(body).map_or("", |rest| rest.trim_start_matches('.'));
            let field = self.fields().iter().map(|field| field.column.field).find(|field| *field == path);
            let first = self.fields()[0].column.field;
            return Err((field.unwrap_or(first), "is none of the words that there are".to_owned()));
        }
        let first = self.fields()[0].column.field;
        wire::parse("Event", &event.to_string()).map_err(|why| (first, why))
    }
}

/// Names of staff, as people of an event.
pub fn approvers_of(names: &Value) -> Result<Value, String> {
    let wrong = "is not names of staff, such as those of their tokens";
    let names = names.as_array().filter(|names| !names.is_empty()).ok_or(wrong)?;
    let person = |name: &Value| -> Result<Value, String> {
        // A name as a token has it: a slip of the pen would be somebody whom nobody knows.
        let name: Id = name.as_str().and_then(|name| name.trim().parse().ok()).ok_or(wrong)?;
        let account = json!({ "kind": "account", "realm": EMITTER, "value": name.as_str() });
        Ok(json!({ "role": "staff", "identifiers": [account] }))
    };
    names.iter().map(person).collect()
}

/// Sets a value by its path.
fn put(row: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            row.insert(path.to_owned(), value);
        }
        Some((head, rest)) => {
            let inner = row.entry(head.to_owned()).or_insert_with(|| json!({}));
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

impl Field {
    /// What an event's body says in this field.
    fn cell(&self, body: &Value) -> Result<Cell, String> {
        let mut value = body;
        for name in self.column.field.split('.') {
            value = value.get(name).unwrap_or(&Value::Null);
        }
        let wrong = || format!("{} is not as it should be", self.column.field);
        let text = |value: &Value, name: &str| {
            value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let each = || value.as_array().into_iter().flatten();
        match self.form {
            Form::Bases => {
                Ok(Cell::list(each().map(|one| format!("{}:{}", text(one, "id"), text(one, "basis")))))
            }
            Form::Hash => match value.as_str() {
                None => Ok(Cell::Empty),
                Some(hash) => hex(hash).map(Cell::text).ok_or_else(wrong),
            },
            Form::Texts => {
                let one =
                    |one: &Value| Some(format!("{}={}", text(one, "locale"), hex(&text(one, "sha256"))?));
                each().map(one).collect::<Option<Vec<_>>>().map(Cell::list).ok_or_else(wrong)
            }
            Form::Declared => Ok(Cell::list(each().map(|one| {
                let cats = one.get("cats").and_then(Value::as_array).into_iter().flatten();
                let cats: Vec<&str> = cats.filter_map(Value::as_str).collect();
                format!("{}={}", text(one, "purpose"), cats.join("+"))
            }))),
            Form::Approvers => Ok(Cell::Empty),
            Form::Plain => self.plain_cell(value).ok_or_else(wrong),
        }
    }

    fn plain_cell(&self, value: &Value) -> Option<Cell> {
        Some(match (self.column.kind, value) {
            (_, Value::Null) => Cell::Empty,
            (Kind::Text, Value::String(text)) => Cell::text(text),
            (Kind::Integer, Value::Number(number)) => Cell::Integer(number.as_u64()?),
            (Kind::Flag, Value::Bool(flag)) => Cell::Flag(*flag),
            (Kind::Date, Value::String(text)) => Cell::Date(text.parse().ok()?),
            (Kind::Instant, Value::String(text)) => Cell::Instant(text.parse().ok()?),
            (Kind::List, Value::Array(values)) => {
                Cell::list(values.iter().filter_map(Value::as_str).map(str::to_owned))
            }
            _ => return None,
        })
    }

    /// What a cell says, as the event's body has it; nothing where it is empty.
    fn value(&self, cell: &Cell) -> Result<Option<Value>, String> {
        let value = match (self.form, cell) {
            (_, Cell::Empty) => return Ok(None),
            (Form::Hash, Cell::Text(text)) => json!(base64(text)?),
            (Form::Bases, Cell::List(values)) => values
                .iter()
                .map(|value| {
                    let wrong = "is not purposes with their bases, such as payment:contract";
                    let (id, basis) = value.rsplit_once(':').ok_or(wrong)?;
                    Ok(json!({ "id": id.trim(), "basis": basis.trim() }))
                })
                .collect::<Result<Value, String>>()?,
            (Form::Texts, Cell::List(values)) => values
                .iter()
                .map(|value| {
                    let (locale, hash) =
                        value.split_once('=').ok_or("is not texts such as zh=, then a SHA-256")?;
                    Ok(json!({ "locale": locale.trim(), "sha256": base64(hash)? }))
                })
                .collect::<Result<Value, String>>()?,
            (Form::Declared, Cell::List(values)) => values
                .iter()
                .map(|value| {
                    let wrong = "is not categories by purpose, such as payment=pd:UID+x:imei";
                    let (purpose, cats) = value.split_once('=').ok_or(wrong)?;
                    let cats: Vec<&str> =
                        cats.split('+').map(str::trim).filter(|cat| !cat.is_empty()).collect();
                    Ok(json!({ "purpose": purpose.trim(), "cats": cats }))
                })
                .collect::<Result<Value, String>>()?,
            (_, Cell::Text(text)) => json!(text.trim()),
            (_, Cell::Integer(number)) => json!(number),
            (_, Cell::Flag(flag)) => json!(flag),
            (_, Cell::Date(date)) => json!(date.to_string()),
            (_, Cell::Instant(at)) => json!(at.to_string()),
            (_, Cell::List(values)) => json!(values),
        };
        Ok(Some(value))
    }
}

fn hex(base64: &str) -> Option<String> {
    let bytes = STANDARD.decode(base64).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A SHA-256 that somebody wrote in hexadecimal, as JSON has bytes.
fn base64(hex: &str) -> Result<String, String> {
    let hex = hex.trim();
    let digits = hex.bytes().map(|digit| char::from(digit).to_digit(16)).collect::<Option<Vec<u32>>>();
    let digits =
        digits.filter(|digits| digits.len() == 64).ok_or("is no SHA-256 of 64 hexadecimal digits")?;
    let bytes: Vec<u8> = digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect();
    Ok(STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One entry of each register with every field that a sheet has.
    fn samples() -> Vec<(Register, Vec<Cell>)> {
        let sample = |field: &Field| {
            let one = |text: &str| Cell::text(text);
            let hash = "ab".repeat(32);
            match (field.form, field.column.field, field.column.kind) {
                (Form::Bases, ..) => Cell::list(["payment:contract".to_owned(), "x:y:consent".to_owned()]),
                (Form::Hash, ..) => one(&hash),
                (Form::Texts, ..) => Cell::list([format!("en={hash}"), format!("zh={hash}")]),
                (Form::Declared, ..) => {
                    Cell::list(["payment=pd:UID+x:imei".to_owned(), "security=".to_owned()])
                }
                (_, "role", _) => one("sdk"),
                (_, "contract_kind", _) => one("pipl23"),
                (_, "channel", _) => one("desk"),
                (_, "source", _) => one("third_party"),
                (_, "safeguards", _) => Cell::list(["encryption".to_owned()]),
                (_, "regime", _) => one("cn"),
                (_, "frequency", _) => one("one_off"),
                (_, "result", _) => one("ok_with_measures"),
                (_, "change_kind", _) => one("material"),
                (_, "rule.kind", _) => one("floor"),
                (_, "rule.anchor", _) => one("transaction_completed"),
                (_, "rule.causes", _) => Cell::list(["fulfilled".to_owned()]),
                (_, "rule.on_expiry", _) => one("anonymise"),
                (_, "ground", _) => one("court"),
                (.., Kind::Text) => one("x-1"),
                (.., Kind::Integer) => Cell::Integer(7),
                (.., Kind::Flag) => Cell::Flag(true),
                (.., Kind::Date) => Cell::Date("2026-03-01".parse().unwrap()),
                (.., Kind::Instant) => Cell::Instant("2026-03-01T08:00:00.007Z".parse().unwrap()),
                (.., Kind::List) => Cell::list(["a".to_owned(), "b".to_owned()]),
            }
        };
        let mut samples = Vec::new();
        for register in Register::value_variants() {
            let mut cells: Vec<Cell> = register.fields().iter().map(sample).collect();
            let kind = register.fields().iter().position(|field| field.column.field == "kind");
            let kinds: &[Cell] = &match register {
                Register::Assessment => vec![Cell::text("tia"), Cell::text("pipia")],
                Register::Breach => vec![Cell::list(["integrity".to_owned()])],
                Register::Mapping => vec![Cell::text("record_kind")],
                _ => vec![Cell::text("cn_standard_contract")],
            };
            for word in kinds {
                if let Some(kind) = kind {
                    cells[kind] = word.clone();
                }
                samples.push((*register, cells.clone()));
            }
        }
        samples
    }

    #[test]
    fn a_row_becomes_the_event_that_gives_the_same_row() {
        for (register, cells) in samples() {
            let event = register.event(&cells).unwrap_or_else(|why| panic!("{register:?}: {why:?}"));
            assert!(event.body.is_some(), "{register:?}");
            let fields = register.fields().iter().zip(&cells);
            let shown = fields.map(|(field, cell)| match field.form {
                Form::Approvers => Cell::Empty,
                _ => cell.clone(),
            });
            assert_eq!(register.cells(&event).unwrap(), shown.collect::<Vec<_>>(), "{register:?}");
        }
    }

    #[test]
    fn what_is_no_value_of_its_field_is_told_by_field() {
        let at = |register: Register, field: &str, cell: Cell| {
            let (_, mut cells) = samples().into_iter().find(|(other, _)| *other == register).unwrap();
            let place = register.fields().iter().position(|known| known.column.field == field).unwrap();
            cells[place] = cell;
            register.event(&cells).unwrap_err().0
        };
        for (register, field, cell) in [
            (Register::Recipient, "role", Cell::text("vendor")),
            (Register::RetentionRule, "rule.anchor", Cell::text("birth")),
            (Register::Activity, "purposes", Cell::list(["payment".to_owned()])),
            (Register::Policy, "locales", Cell::list(["zh".to_owned()])),
            (Register::Mechanism, "annex_sha256", Cell::text("abc")),
            (Register::RetentionRule, APPROVED_BY, Cell::list(["wang li".to_owned()])),
        ] {
            assert_eq!(at(register, field, cell), field, "{register:?}");
        }
    }
}
