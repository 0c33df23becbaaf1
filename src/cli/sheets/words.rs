//! What closed terms are called in both languages. Legal terms are those of the laws (`domain.md`, 7.7).

use crate::domain::vocabulary::{self, Kind, Locale};
use crate::pb;
use crate::sheet::Language;

/// A word of the two.
pub type Word = (&'static str, &'static str);

pub fn said((en, zh): Word, language: Language) -> String {
    language.of(en, zh)
}

pub fn source(source: pb::Source) -> Word {
    match source {
        pb::Source::Subject => ("from the person", "个人提供"),
        pb::Source::Device => ("from the device", "设备采集"),
        pb::Source::ThirdParty => ("from a third party", "第三方提供"),
        pb::Source::Derived => ("derived", "推断生成"),
        pb::Source::Unspecified => ("", ""),
    }
}

pub fn safeguard(safeguard: pb::Safeguard) -> Word {
    match safeguard {
        pb::Safeguard::Encryption => ("encryption", "加密"),
        pb::Safeguard::Pseudonymisation => ("pseudonymisation", "去标识化"),
        pb::Safeguard::Anonymisation => ("anonymisation", "匿名化"),
        pb::Safeguard::Unspecified => ("", ""),
    }
}

pub fn outcome(outcome: pb::TransferOutcome) -> Word {
    use pb::TransferOutcome as Outcome;
    match outcome {
        Outcome::Domestic => ("nothing asked for", "无需机制"),
        Outcome::Adequacy => ("adequacy", "充分性认定"),
        Outcome::Mechanism => ("mechanism", "有合法机制"),
        Outcome::Exemption => ("exempt", "豁免"),
        Outcome::BelowThreshold => ("below the threshold", "未达数量门槛"),
        Outcome::Expired => ("EXPIRED", "机制已失效"),
        Outcome::OutOfScope => ("OUT OF SCOPE", "超出机制范围"),
        Outcome::None => ("NOTHING", "无合法机制"),
        Outcome::Unspecified => ("", ""),
    }
}

pub fn mode(mode: pb::TransferMode) -> Word {
    match mode {
        pb::TransferMode::Transmission => ("transmission", "传输"),
        pb::TransferMode::RemoteAccess => ("remote access", "境外访问"),
        pb::TransferMode::Onward => ("onward transfer", "再转移"),
        pb::TransferMode::Unspecified => ("", ""),
    }
}

pub fn frequency(frequency: pb::Frequency) -> Word {
    match frequency {
        pb::Frequency::OneOff => ("one-off", "一次性"),
        pb::Frequency::Continuous => ("continuous", "持续"),
        pb::Frequency::Unspecified => ("", ""),
    }
}

/// Whether something personal is registered that a register does not show.
pub fn on_file(known: bool) -> Word {
    if known { ("on file", "已登记") } else { ("none", "未登记") }
}

pub fn method(method: pb::ShareMethod) -> Word {
    match method {
        pb::ShareMethod::Api => ("API", "接口传输"),
        pb::ShareMethod::Sdk => ("SDK", "SDK 采集"),
        pb::ShareMethod::File => ("file", "文件"),
        pb::ShareMethod::Manual => ("by hand", "人工提供"),
        pb::ShareMethod::Unspecified => ("", ""),
    }
}

pub fn regime(regime: pb::TransferRegime) -> &'static str {
    match regime {
        pb::TransferRegime::Eu => "EU",
        pb::TransferRegime::Cn => "CN",
        pb::TransferRegime::Unspecified => "",
    }
}

pub fn severity(severity: pb::Severity) -> Word {
    match severity {
        pb::Severity::Critical => ("critical", "严重"),
        pb::Severity::High => ("high", "高"),
        pb::Severity::Medium => ("medium", "中"),
        pb::Severity::Unspecified => ("", ""),
    }
}

pub fn state(state: pb::FindingState) -> Word {
    match state {
        pb::FindingState::Open => ("open", "未处理"),
        pb::FindingState::Acknowledged => ("acknowledged", "处理中"),
        pb::FindingState::Closed => ("closed", "已关闭"),
        pb::FindingState::Reopened => ("reopened", "重新打开"),
        pb::FindingState::Cured => ("cured", "已补正"),
        pb::FindingState::Unspecified => ("", ""),
    }
}

pub fn assessment(kind: pb::AssessmentKind) -> Word {
    use pb::AssessmentKind as Kind;
    match kind {
        Kind::Tia => ("TIA", "传输影响评估"),
        Kind::Pipia => ("PIPIA", "个人信息保护影响评估"),
        Kind::Dpia => ("DPIA", "数据保护影响评估"),
        Kind::Lia => ("LIA", "正当利益评估"),
        Kind::Sdk => ("SDK assessment", "SDK 评估"),
        Kind::SelfAssessment => ("self-assessment", "自评估"),
        Kind::Unspecified => ("", ""),
    }
}

pub fn result(result: pb::AssessmentResult) -> Word {
    use pb::AssessmentResult as Result;
    match result {
        Result::Ok => ("passed", "通过"),
        Result::OkWithMeasures => ("passed with measures", "采取措施后通过"),
        Result::NotOk => ("not passed", "未通过"),
        Result::Unspecified => ("", ""),
    }
}

pub fn anchor(anchor: pb::Anchor) -> Word {
    use pb::Anchor as From;
    match anchor {
        From::PurposeEnded => ("the end of the purpose", "处理目的终止"),
        From::Collected => ("collection", "收集"),
        From::LastActivity => ("the last activity", "最后活动"),
        From::Logged => ("logging", "日志记录"),
        From::DocumentCreated => ("the document", "凭证形成"),
        From::TransactionCompleted => ("the end of the transaction", "交易完成"),
        From::AccountCancelled => ("cancellation of the account", "账号注销"),
        From::Unspecified => ("", ""),
    }
}

/// In which capacity a recipient gets data.
pub fn role(role: pb::RecipientRole, language: Language) -> String {
    let id = crate::domain::event::RecipientRole::from_number(role.into()).map(|role| role.as_str());
    let Some(id) = id else { return String::new() };
    let label = |locale| vocabulary::label(Kind::Role, id, locale).unwrap_or(id);
    language.of(label(Locale::En), label(Locale::Zh))
}

/// Under which article a contract stands.
pub fn contract(kind: pb::ContractKind) -> &'static str {
    use pb::ContractKind as Kind;
    match kind {
        Kind::Gdpr28 => "GDPR 28",
        Kind::Gdpr26 => "GDPR 26",
        Kind::Pipl20 => "PIPL 20",
        Kind::Pipl21 => "PIPL 21",
        Kind::Pipl23 => "PIPL 23",
        Kind::Scc => "SCC",
        Kind::Unspecified => "",
    }
}
