//! What a reason says to an officer, in both languages, and the law it rests on.

use crate::domain::event::SoftEnd;
use crate::domain::retention::decision::Reason;
use crate::domain::retention::episode::{Ended, HardEnd};
use crate::domain::vocabulary::Locale;

impl Reason {
    /// One sentence.
    pub fn say(&self, locale: Locale) -> String {
        let (en, zh) = self.sentences();
        match locale {
            Locale::En => en,
            Locale::Zh => zh,
        }
    }

    fn sentences(&self) -> (String, String) {
        let both = |en: String, zh: String| (en, zh);
        match self {
            Reason::Rule(id) => both(format!("rule {id} says when"), format!("由规则 {id} 决定")),
            Reason::Ended(ended, purpose) => {
                let (en, zh) = ended.words();
                both(format!("{en} ({purpose})"), format!("{zh}（{purpose}）"))
            }
            Reason::Open(purpose) => {
                both(format!("{purpose} is still needed"), format!("处理目的 {purpose} 仍在持续"))
            }
            Reason::Settling(purpose) => both(
                format!("the consent or registration for {purpose} may still arrive"),
                format!("{purpose} 所需的同意或注册记录可能尚在途中"),
            ),
            Reason::Pending(floor) => both(
                format!("the statutory period of {floor} has not begun"),
                format!("{floor} 的法定保存期限尚未起算"),
            ),
            Reason::Hold(hold) => {
                both(format!("legal hold {hold} keeps it"), format!("法律保全 {hold} 要求继续保存"))
            }
            Reason::Restriction(_) => both(
                "its processing is restricted, so that it is stored only".to_owned(),
                "已限制处理，仅可保存".to_owned(),
            ),
            Reason::Deferred => both(
                "deleting it is technically hard; it is stored and secured only".to_owned(),
                "删除在技术上难以实现，仅可保存并采取安全措施".to_owned(),
            ),
            Reason::Order(order) => both(
                format!("an authority ordered its deletion ({order})"),
                format!("主管机关责令删除（{order}）"),
            ),
            Reason::Undefined(purpose) => both(
                format!("no rule says how long {purpose} needs it; an officer has to decide"),
                format!("没有规则规定 {purpose} 的保存期限，须由负责人决定"),
            ),
            Reason::Released => both(
                "it was kept beyond its time until what kept it was lifted".to_owned(),
                "期限届满后因限制或保全而继续保存，现已解除".to_owned(),
            ),
        }
    }

    /// The provisions, where the reason itself rests on some. A rule cites its own.
    pub fn legal(&self) -> Option<&'static str> {
        Some(match self {
            Reason::Ended(Ended::Hard(HardEnd::ConsentWithdrawn), _) => {
                "GDPR 7(3), 17(1)(b); PIPL 15, 47(1)(3)"
            }
            Reason::Ended(Ended::Hard(HardEnd::ObjectionUpheld), _) => "GDPR 17(1)(c), 21; PIPL 44",
            Reason::Ended(Ended::Hard(HardEnd::Unlawful), _) => "GDPR 17(1)(d); PIPL 47(1)(4)",
            Reason::Ended(Ended::Hard(HardEnd::ErasureAccepted), _) => "GDPR 17(1); PIPL 47",
            Reason::Ended(Ended::Soft(SoftEnd::Fulfilled), _) => "GDPR 5(1)(e), 17(1)(a); PIPL 47(1)(1)",
            Reason::Ended(Ended::Soft(_), _) => "GDPR 17(1)(a); PIPL 47(1)(2)",
            Reason::Hold(_) => "GDPR 17(3)(b), (e)",
            Reason::Restriction(_) => "GDPR 18(2)",
            Reason::Deferred => "PIPL 47(2)",
            Reason::Order(_) => "GDPR 58(2)(g); PIPL 66",
            Reason::Undefined(_) => "GDPR 13(2)(a); PIPL 17, 19",
            Reason::Open(_) => "GDPR 5(1)(e); PIPL 19",
            Reason::Rule(_) | Reason::Settling(_) | Reason::Pending(_) | Reason::Released => return None,
        })
    }
}

impl Ended {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Ended::Hard(HardEnd::ConsentWithdrawn) => ("consent was withdrawn", "个人已撤回同意"),
            Ended::Hard(HardEnd::ObjectionUpheld) => ("an objection was upheld", "反对处理的请求成立"),
            Ended::Hard(HardEnd::Unlawful) => {
                ("it was processed without a lawful basis", "处理缺乏合法性基础")
            }
            Ended::Hard(HardEnd::ErasureAccepted) => {
                ("a request for erasure was accepted", "删除请求已被接受")
            }
            Ended::Soft(SoftEnd::Fulfilled) => ("the purpose was achieved", "处理目的已实现"),
            Ended::Soft(SoftEnd::AccountCancelled) => ("the account was cancelled", "账户已注销"),
            Ended::Soft(SoftEnd::ServiceTerminated) => ("the service has ended", "服务已停止"),
        }
    }
}
