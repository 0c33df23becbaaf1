//! The person's copy of a certificate, in Chinese and English. It says what is certain and no more: not
//! that anybody is anonymous, and not that copies elsewhere are gone.

use crate::app::erase::certificate::Certificate;
use crate::domain::time::Timestamp;
use crate::verify::manifest::hex;

/// One text each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Letters {
    pub en: String,
    pub zh: String,
}

pub fn of(certificate: &Certificate) -> Letters {
    Letters { en: english(certificate), zh: chinese(certificate) }
}

fn english(c: &Certificate) -> String {
    let or_none = |at: Option<Timestamp>| at.map_or("not recorded".to_owned(), |at| at.to_string());
    let backups = match (c.beyond_backups, c.beyond_backups_at) {
        (true, _) => "The service's keyring holds no key any more that opened a backup of that time; copies of it are to be \
             destroyed with each key."
            .to_owned(),
        (false, Some(at)) => format!(
            "With the service's keyring backups of before can be read until {at} at the latest; what they hold of you is erased again \
             before a restored copy is used."
        ),
        (false, None) => "Backups of before can be read until the operator replaces their key.".to_owned(),
    };
    let kept = match (c.kept_until, c.evidence_ended_at) {
        (Some(until), _) => format!(
            "What proves your consents and how your requests were handled is kept until {until}: stored only, \
             to establish, exercise or defend legal claims (GDPR 5(2), 7(1), 17(3)(e); PIPL 47, 69)."
        ),
        (None, Some(at)) => format!("What proved your consents and requests was destroyed on {at}."),
        (None, None) => "Nothing that proves consents or requests was kept.".to_owned(),
    };
    format!(
        "CERTIFICATE OF ERASURE\n\
         \n\
         Log                {origin}\n\
         Tomb               {tomb}\n\
         Accepted           {accepted}, position {position}\n\
         Keys destroyed     {shredded}: from then on nothing of yours could be opened.\n\
         Physically removed {purged}: sealed values, index entries and rows.\n\
         Backups            {backups}\n\
         \n\
         Kept: {kept}\n\
         For 90 days a keyed mark of each of your identifiers stays, so that messages about you that arrive \
         late are recognised and not stored to your name.\n\
         What remains for good names services, purposes and recipients, never you: the entries of a log whose \
         order and content are provable. Copies handed to you or to authorities before are beyond our reach.\n\
         \n\
         {proof}\n",
        origin = c.origin,
        tomb = hex(&c.tomb.0),
        accepted = c.accepted.1,
        position = c.accepted.0,
        shredded = c.shredded_at,
        purged = or_none(c.purged_at),
        proof = match c.proof {
            Some(_) => format!(
                "Proof: the entry at position {} stands in the published log; the proof beside this letter can be \
                 checked with any program for c2sp.org/tlog-proof.",
                c.erased
            ),
            None => format!(
                "Proof: the entry at position {} can be proven from the next checkpoint on.",
                c.erased
            ),
        },
    )
}

fn chinese(c: &Certificate) -> String {
    let or_none = |at: Option<Timestamp>| at.map_or("无记录".to_owned(), |at| at.to_string());
    let backups = match (c.beyond_backups, c.beyond_backups_at) {
        (true, _) => "本服务的密钥环中能够打开当时备份的密钥均已销毁；密钥环的副本须随之销毁。".to_owned(),
        (false, Some(at)) => {
            format!(
                "以本服务的密钥环，此前的备份最迟在 {at} 之前仍可读取；如恢复备份，其中有关您的内容会在使用前再次删除。"
            )
        }
        (false, None) => "此前的备份在运营者更换其密钥之前仍可读取。".to_owned(),
    };
    let kept = match (c.kept_until, c.evidence_ended_at) {
        (Some(until), _) => format!(
            "证明您的同意及您的请求如何处理的内容保存至 {until}：仅存储，用于提出、行使或抗辩法律请求\
             （《个人信息保护法》第四十七条、第六十九条；GDPR 第5条第2款、第7条第1款、第17条第3款e项）。"
        ),
        (None, Some(at)) => format!("证明您的同意和请求的内容已于 {at} 销毁。"),
        (None, None) => "未保留证明同意或请求的内容。".to_owned(),
    };
    format!(
        "删除证明\n\
         \n\
         日志       {origin}\n\
         标识       {tomb}\n\
         受理       {accepted}，位置 {position}\n\
         密钥销毁   {shredded}：自此刻起，您的任何内容均无法打开。\n\
         物理清除   {purged}：密封的内容、索引条目和数据行。\n\
         备份       {backups}\n\
         \n\
         保留：{kept}\n\
         您的每个标识符的加密标记保留90天，用于识别迟到的、有关您的消息，使其不再归到您的名下。\n\
         永久保留的内容只涉及服务、目的和接收方，不涉及您：即一份顺序和内容均可证明的日志的条目。\
         此前已交给您或有关机关的副本不在我们的控制之内。\n\
         \n\
         {proof}\n",
        origin = c.origin,
        tomb = hex(&c.tomb.0),
        accepted = c.accepted.1,
        position = c.accepted.0,
        shredded = c.shredded_at,
        purged = or_none(c.purged_at),
        proof = match c.proof {
            Some(_) => format!(
                "证明：位置 {} 的条目在已公布的日志之中；随附的证明文件可用任何支持 c2sp.org/tlog-proof 的程序核验。",
                c.erased
            ),
            None => format!("证明：位置 {} 的条目自下一个检查点起可以证明。", c.erased),
        },
    )
}
