//! Letters word by word, in both languages, and what none of them may say.

use super::*;

const KINDS: [Kind; 9] = [
    Kind::Erase,
    Kind::Anonymise,
    Kind::Restrict,
    Kind::Lift,
    Kind::Rectify,
    Kind::ProvideCopy,
    Kind::StopUsing,
    Kind::Notify,
    Kind::PreserveBackups,
];

fn at(text: &str) -> Timestamp {
    format!("{text}T08:00:00Z").parse().unwrap()
}

fn item(reference: &str, kind: Kind, reminders: u32) -> Item {
    Item { reference: reference.to_owned(), kind, due: Some(at("2026-12-31")), reminders }
}

fn letter(items: Vec<Item>) -> Letter {
    Letter {
        addressee: "tencent".to_owned(),
        sender: Some("KSTAR".to_owned()),
        date: at("2026-12-01"),
        items,
        list: vec!["tencent.csv".to_owned()],
    }
}

fn both(items: Vec<Item>) -> [String; 2] {
    let Letters { en, zh } = of(&letter(items));
    [en, zh]
}

#[test]
fn each_kind_asks_for_its_own_thing_on_its_articles_in_both_languages() {
    let mut said = Vec::new();
    for kind in KINDS {
        let [en, zh] = both(vec![item("i-1", kind, 0)]);
        let Ask { en: asked, zh: wanted, law } = ask(kind);
        assert!(en.contains(asked) && en.contains(law), "{en}");
        assert!(zh.contains(wanted) && zh.contains(&articles(law)), "{zh}");
        assert!(law.contains("GDPR") && law.contains("PIPL"), "{law}");
        for text in [&en, &zh] {
            assert!(
                ["tencent", "KSTAR", "2026-12-01", "2026-12-31", "i-1", "tencent.csv"]
                    .iter()
                    .all(|word| text.contains(word)),
                "{text}"
            );
        }
        said.extend([asked, wanted, named(kind).0, named(kind).1]);
    }
    let all = said.len();
    said.sort_unstable();
    said.dedup();
    assert_eq!(said.len(), all, "no two kinds ask for the same");
}

#[test]
fn an_erasure_cites_what_binds_its_addressee() {
    let [en, zh] = both(vec![item("i-1", Kind::Erase, 0)]);
    assert!(en.contains("Law: GDPR 17, 19, 28(3)(a), (g); PIPL 21, 47"), "{en}");
    assert!(zh.contains("法律依据：GDPR 17, 19, 28(3)(a), (g)；《个人信息保护法》 21, 47"), "{zh}");
    assert!(en.contains("put off") && zh.contains("延期"), "PIPL 47(2)");
    let [en, zh] = both(vec![item("i-1", Kind::ProvideCopy, 0)]);
    assert!(!en.contains("put off") && !zh.contains("延期"), "only destruction is put off");
}

#[test]
fn a_letter_is_a_reminder_from_the_second_time_on_and_says_which() {
    let [en, zh] = both(vec![item("i-1", Kind::Erase, 0)]);
    assert!(!en.contains("reminder") && !zh.contains("催告"), "{en}{zh}");
    let [en, zh] = both(vec![item("i-1", Kind::Erase, 1), item("i-2", Kind::Erase, 2)]);
    assert!(en.contains("This is reminder no. 2: we have had no answer"), "{en}");
    assert!(en.contains("i-1, answer by 2026-12-31, reminder 1\n"), "{en}");
    assert!(zh.contains("本函为第2次催告：") && zh.contains("i-1，请于2026-12-31前答复，第1次催告"), "{zh}");
    let [en, zh] = both(vec![item("i-1", Kind::Erase, 3), item("i-2", Kind::Notify, 0)]);
    assert!(
        en.contains("reminder no. 3 of what is marked so below") && en.contains("the rest is new"),
        "{en}"
    );
    assert!(zh.contains("其余为新的指示"), "{zh}");
}

#[test]
fn kinds_stand_together_and_long_lists_stand_in_the_list() {
    let mut items = vec![item("n-1", Kind::Notify, 0)];
    items.extend((0..50).map(|n| item(&format!("e-{n}"), Kind::Erase, 0)));
    let [en, zh] = both(items);
    assert!(en.find("1. Erase (50 of them)") < en.find("2. Take notice (1 of them)"), "{en}");
    assert!(en.contains("e-39") && !en.contains("e-40") && en.contains("and the others"), "{en}");
    assert!(zh.contains("1. 删除（共50项）") && zh.contains("其余编号见清单"), "{zh}");
}

#[test]
fn a_sender_and_a_deadline_may_be_missing() {
    let items = vec![Item { due: None, ..item("i-1", Kind::Erase, 0) }];
    let Letters { en, zh } = of(&Letter { sender: None, ..letter(items) });
    assert!(en.contains("From    ____") && !en.contains("Answer  by"), "{en}");
    assert!(zh.contains("发件方：____") && !zh.contains("答复期限"), "{zh}");
}

#[test]
fn no_letter_tells_why() {
    for kind in KINDS {
        for reminders in [0, 1] {
            let [en, zh] = both(vec![item("i-1", kind, reminders)]);
            let told = en.to_lowercase();
            for word in
                ["hold", "litigation", "court", "investigation", "authority", "evidence", "17(3)", "18(2)"]
            {
                let found = told
                    .replace("that holds", "")
                    .replace("holds personal", "")
                    .replace("holds the data", "");
                assert!(!found.contains(word), "{kind:?} says {word}: {en}");
            }
            for word in ["冻结", "诉讼", "法院", "调查", "主管机关", "证据", "保全"] {
                assert!(!zh.contains(word), "{kind:?} says {word}: {zh}");
            }
        }
    }
}
