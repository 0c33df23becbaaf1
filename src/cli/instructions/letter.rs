//! The letter to somebody who holds data and will never call: what to do with which of them, on which articles, by when,
//! and how to answer; in English and in Chinese. Pure.
//!
//! It says what is to be done, never why: not which rule, request, order or end of a contract stands behind it, and of
//! nothing that is kept (`domain.md` 6.7, no tipping off). Whom it is about stands in the list beside it, not in it.

use crate::domain::time::Timestamp;
use crate::pb::InstructionKind as Kind;

/// One text each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letters {
    pub en: String,
    pub zh: String,
}

/// What is written to one addressee.
#[derive(Debug, Clone)]
pub struct Letter {
    pub addressee: String,
    /// Who writes; a line to fill in where that is not known.
    pub sender: Option<String>,
    pub date: Timestamp,
    /// Each of one thing to do; the kinds together.
    pub items: Vec<Item>,
    /// Names of the files with the list.
    pub list: Vec<String>,
}

/// One instruction, as far as a letter tells it.
#[derive(Debug, Clone)]
pub struct Item {
    pub reference: String,
    pub kind: Kind,
    pub due: Option<Timestamp>,
    /// How often its addressee should have been reminded by now.
    pub reminders: u32,
}

/// Instructions whose numbers stand in the letter itself; the list has all.
const NUMBERED: usize = 40;

/// What one kind of instruction asks for, and on which articles.
struct Ask {
    en: &'static str,
    zh: &'static str,
    law: &'static str,
}

fn ask(kind: Kind) -> Ask {
    let (en, zh, law) = match kind {
        Kind::Erase => (
            "Please erase the data below, copies included, and have those erase them to whom you gave them.",
            "请删除下列个人信息（含副本），并要求已从贵方取得该信息的各方一并删除。",
            "GDPR 17, 19, 28(3)(a), (g); PIPL 21, 47",
        ),
        Kind::Anonymise => (
            "Please anonymise the data below, so that nobody can be identified any more and this cannot be undone; \
             pseudonymisation is not enough. Test that nobody can be re-identified, and name the test when you answer.",
            "请对下列个人信息进行匿名化处理，使其无法识别特定自然人且不能复原；去标识化不足以满足要求。请进行重识别测试，\
             并在答复中注明测试编号。",
            "GDPR 17, 19, 28(3)(a), (g), recital 26; PIPL 21, 47, 73(4)",
        ),
        Kind::Restrict => (
            "Please restrict the processing of the data below: store and protect them, and use them for nothing else until \
             you hear from us.",
            "请对下列个人信息限制处理：除存储和采取必要的安全保护措施外，在另行通知之前停止其他处理。",
            "GDPR 18, 19, 28(3)(a); PIPL 21, 44",
        ),
        Kind::Lift => (
            "The restriction of the data below has ended: you may process them again as agreed.",
            "下列个人信息的限制处理已经解除：可按约定恢复处理。",
            "GDPR 18(3), 19, 28(3)(a); PIPL 21",
        ),
        Kind::Rectify => (
            "Please rectify the data below, and tell those to whom you gave them. What is to stand there you get from us by \
             the agreed way.",
            "请更正或补充下列个人信息，并告知已从贵方取得该信息的各方。更正后的内容由我方按约定方式另行提供。",
            "GDPR 16, 19, 28(3)(a), (e); PIPL 21, 46",
        ),
        Kind::ProvideCopy => (
            "Please provide a copy of the data below in a common electronic form.",
            "请以通用的电子格式提供下列个人信息的副本。",
            "GDPR 15(3), 28(3)(e); PIPL 21, 45",
        ),
        Kind::StopUsing => (
            "Please stop using the data below. You may store them until you hear from us.",
            "请停止使用下列个人信息；在另行通知之前可继续存储。",
            "GDPR 21(3), 19, 28(3)(a); PIPL 15, 21, 44",
        ),
        Kind::Notify => (
            "Please take notice that the data below were erased at their source. Where you keep them on our behalf, erase \
             them; where you decide yourself, examine whether you still may keep them, and erase what you may not.",
            "特此告知：下列个人信息已在来源处删除。贵方受托处理的，请予以删除；贵方自主决定处理的，请核查是否仍可保存，\
             不得保存的请予以删除。",
            "GDPR 17(2), 19, 28(3)(g); PIPL 21, 47",
        ),
        Kind::PreserveBackups => (
            "Please let no backup that holds the data below expire or be overwritten until you hear from us, and use it for \
             nothing else.",
            "在另行通知之前，请勿使含有下列个人信息的备份到期或被覆盖，亦不得将其用于其他目的。",
            "GDPR 28(3)(a), 32; PIPL 21, 51",
        ),
        Kind::Unspecified => ("Please see the list.", "请见清单。", "GDPR 28(3)(a); PIPL 21"),
    };
    Ask { en, zh, law }
}

fn named(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Erase => ("Erase", "删除"),
        Kind::Anonymise => ("Anonymise", "匿名化"),
        Kind::Restrict => ("Restrict", "限制处理"),
        Kind::Lift => ("End a restriction", "解除限制处理"),
        Kind::Rectify => ("Rectify", "更正、补充"),
        Kind::ProvideCopy => ("Provide a copy", "提供副本"),
        Kind::StopUsing => ("Stop using", "停止使用"),
        Kind::Notify => ("Take notice", "知悉"),
        Kind::PreserveBackups => ("Keep backups", "保留备份"),
        Kind::Unspecified => ("See the list", "见清单"),
    }
}

impl Letter {
    /// Which reminder it is, if it is one: the highest of its instructions.
    fn reminder(&self) -> Option<u32> {
        self.items.iter().map(|item| item.reminders).max().filter(|number| *number > 0)
    }

    /// Whether everything in it was told before.
    fn is_all_told_before(&self) -> bool {
        self.items.iter().all(|item| item.reminders > 0)
    }

    /// The kinds of it, each once, in the order of the API.
    fn kinds(&self) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = self.items.iter().map(|item| item.kind).collect();
        kinds.sort_unstable_by_key(|kind| i32::from(*kind));
        kinds.dedup();
        kinds
    }

    fn of(&self, kind: Kind) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(move |item| item.kind == kind)
    }

    /// The first deadline, which counts where others are later.
    fn first_due(&self) -> Option<Timestamp> {
        self.items.iter().filter_map(|item| item.due).min()
    }

    /// Whether anything in it destroys data.
    fn destroys(&self) -> bool {
        self.items.iter().any(|item| matches!(item.kind, Kind::Erase | Kind::Anonymise | Kind::Notify))
    }
}

/// The day of an instant, in UTC, which both texts say.
fn day(at: Timestamp) -> String {
    at.local_date(chrono_tz::UTC).to_string()
}

pub fn of(letter: &Letter) -> Letters {
    Letters { en: english(letter), zh: chinese(letter) }
}

fn english(letter: &Letter) -> String {
    let mut text = String::from("INSTRUCTIONS ABOUT PERSONAL DATA\n\n");
    text.push_str(&format!("To      {}\n", letter.addressee));
    text.push_str(&format!("From    {}\n", letter.sender.as_deref().unwrap_or("____________________")));
    text.push_str(&format!("Date    {}\n", day(letter.date)));
    if let Some(due) = letter.first_due() {
        text.push_str(&format!("Answer  by {} (UTC)\n", day(due)));
    }
    if let Some(number) = letter.reminder() {
        let what = match letter.is_all_told_before() {
            true => format!("This is reminder no. {number}: we have had no answer to what we told you."),
            false => format!(
                "This is reminder no. {number} of what is marked so below, to which we have had no answer; the rest is new."
            ),
        };
        text.push_str(&format!("\n{what}\n"));
    }
    for (number, kind) in letter.kinds().into_iter().enumerate() {
        let Ask { en, law, .. } = ask(kind);
        text.push_str(&format!(
            "\n{}. {} ({} of them)\n",
            number + 1,
            named(kind).0,
            letter.of(kind).count()
        ));
        text.push_str(&format!("   {en}\n   Law: {law}\n"));
        for item in letter.of(kind).take(NUMBERED) {
            let due = item.due.map(|due| format!(", answer by {}", day(due))).unwrap_or_default();
            let again =
                if item.reminders > 0 { format!(", reminder {}", item.reminders) } else { String::new() };
            text.push_str(&format!("   - {}{due}{again}\n", item.reference));
        }
        if letter.of(kind).count() > NUMBERED {
            text.push_str("   - and the others that the list names\n");
        }
    }
    text.push_str(&format!(
        "\nThe list beside this letter says whom and which data each number is about: {}.\n",
        letter.list.join(", ")
    ));
    text.push_str("It holds personal data: keep it safe, use it for nothing else, and destroy it when you have answered.\n");
    text.push_str(&english_answer(letter));
    text
}

fn english_answer(letter: &Letter) -> String {
    let mut text = String::from(
        "\nHow to answer: send the list back with its last columns filled in, or reply with one line for each number:\n\
         \x20 done        when, and what the list asks for besides\n\
         \x20 refused     the duty or right of your own that stands against it, with its article\n\
         \x20 impossible  why it cannot be done\n",
    );
    if letter.destroys() {
        text.push_str(
            "\x20 put off     only where destruction is technically hard, and not for data under the GDPR: store and protect \
             them, do nothing else with them, and say when you look again (PIPL 47(2))\n\
             Of what was erased or made anonymous we need the day, the method, the stores from which it is gone, and when \
             the last backup that holds it ends.\n",
        );
    }
    text.push_str(
        "If you process the data on our behalf, you carry this out as instructed (GDPR 28(3); PIPL 21). If you decide \
         yourself why and how, tell us what you have done, or why you may not (GDPR 19; PIPL 23).\n",
    );
    text
}

fn chinese(letter: &Letter) -> String {
    let mut text = String::from("个人信息处理指示函\n\n");
    text.push_str(&format!("致：{}\n", letter.addressee));
    text.push_str(&format!("发件方：{}\n", letter.sender.as_deref().unwrap_or("____________________")));
    text.push_str(&format!("日期：{}\n", day(letter.date)));
    if let Some(due) = letter.first_due() {
        text.push_str(&format!("答复期限：{}（UTC）\n", day(due)));
    }
    if let Some(number) = letter.reminder() {
        let what = match letter.is_all_told_before() {
            true => format!("本函为第{number}次催告：此前的指示尚未收到贵方答复。"),
            false => {
                format!("本函为下列标注事项的第{number}次催告，该等事项尚未收到贵方答复；其余为新的指示。")
            }
        };
        text.push_str(&format!("\n{what}\n"));
    }
    for (number, kind) in letter.kinds().into_iter().enumerate() {
        let Ask { zh, law, .. } = ask(kind);
        text.push_str(&format!("\n{}. {}（共{}项）\n", number + 1, named(kind).1, letter.of(kind).count()));
        text.push_str(&format!("   {zh}\n   法律依据：{}\n", articles(law)));
        for item in letter.of(kind).take(NUMBERED) {
            let due = item.due.map(|due| format!("，请于{}前答复", day(due))).unwrap_or_default();
            let again =
                if item.reminders > 0 { format!("，第{}次催告", item.reminders) } else { String::new() };
            text.push_str(&format!("   - {}{due}{again}\n", item.reference));
        }
        if letter.of(kind).count() > NUMBERED {
            text.push_str("   - 其余编号见清单\n");
        }
    }
    text.push_str(&format!("\n各编号所涉个人及信息见随函清单：{}。\n", letter.list.join("、")));
    text.push_str("清单含有个人信息：请妥善保管，不得用于其他目的，并在答复后销毁。\n");
    text.push_str(&chinese_answer(letter));
    text
}

fn chinese_answer(letter: &Letter) -> String {
    let mut text = String::from(
        "\n答复方式：填写清单最后各列后寄回，或就每一编号回复一行：\n\
         \x20 已执行    执行时间及清单要求的其他内容\n\
         \x20 拒绝      贵方据以不执行的自身义务或权利及其法律条款\n\
         \x20 无法执行  原因\n",
    );
    if letter.destroys() {
        text.push_str(
            "\x20 延期      仅限删除在技术上难以实现且不适用 GDPR 的信息：除存储和采取必要的安全保护措施外停止处理，\
             并注明复核时间（《个人信息保护法》第四十七条第二款）\n\
             已删除或已匿名化的，请注明日期、方法、所涉存储，以及含有该信息的最后备份的到期时间。\n",
        );
    }
    text.push_str(
        "贵方为受托人的，应按指示处理（《个人信息保护法》第二十一条；GDPR 第28条第3款）；贵方自主决定处理目的和方式的，\
         请告知处理结果或不能处理的理由（《个人信息保护法》第二十三条；GDPR 第19条）。\n",
    );
    text
}

/// The articles as Chinese texts name the two laws.
fn articles(law: &str) -> String {
    law.replace("; ", "；").replace("PIPL", "《个人信息保护法》").replace("recital", "序言")
}

#[cfg(test)]
#[path = "letter_tests.rs"]
mod tests;
