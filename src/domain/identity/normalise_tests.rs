//! The table of `domain.md` 2.5 as examples, and what must hold for any text.

use proptest::prelude::*;

use super::*;

fn country(code: &str) -> Option<Country> {
    code.parse().ok()
}

fn realm_for(kind: Kind) -> Option<Id> {
    if kind.needs_realm() { "app".parse().ok() } else { None }
}

fn try_normal(kind: Kind, value: &str, home: Option<Country>) -> Result<Option<String>, Malformed> {
    let found = normalise(kind, realm_for(kind), value, home)?;
    Ok(found.map(|identifier| identifier.value.expose().clone()))
}

#[track_caller]
fn normal(kind: Kind, value: &str, home: Option<Country>) -> String {
    try_normal(kind, value, home).expect(value).expect(value)
}

#[test]
fn telephone_numbers_of_the_table() {
    for spelling in [
        "139 1234 5678",
        "+86 (139) 1234-5678",
        "0086-13912345678",
        "8613912345678",
        "＋８６ １３９ １２３４ ５６７８",
        "０13912345678",
        "139.1234.5678",
        "+86（139）1234—5678",
    ] {
        assert_eq!(normal(Kind::Phone, spelling, country("CN")), "+8613912345678", "{spelling}");
    }
    assert_eq!(normal(Kind::Phone, "8613912345678", None), "+8613912345678");
    assert_eq!(normal(Kind::Phone, "0151 2345678", country("DE")), "+491512345678");
}

#[test]
fn telephone_numbers_as_they_are_written_at_home() {
    for (home, spelling, number) in [
        ("CN", "0755-8888 8888", "+8675588888888"),
        ("DE", "+49 (0)151 2345678", "+491512345678"),
        ("GB", "07911 123456", "+447911123456"),
        ("FR", "06 12 34 56 78", "+33612345678"),
        ("IT", "06 1234 5678", "+390612345678"),
        ("ES", "612 345 678", "+34612345678"),
        ("NL", "06-12345678", "+31612345678"),
        ("HU", "06 20 123 4567", "+36201234567"),
        ("CH", "079 123 45 67", "+41791234567"),
        ("US", "(415) 555-2671", "+14155552671"),
        ("CA", "1-416-555-0123", "+14165550123"),
        ("HK", "9123 4567", "+85291234567"),
        ("TW", "0912-345-678", "+886912345678"),
        ("JP", "090-1234-5678", "+819012345678"),
        ("KR", "010-1234-5678", "+821012345678"),
        ("SG", "8123 4567", "+6581234567"),
        ("AU", "0412 345 678", "+61412345678"),
        ("ZA", "082 123 4567", "+27821234567"),
        ("IN", "098765 43210", "+919876543210"),
        ("BR", "(011) 91234-5678", "+5511912345678"),
        ("RU", "8 912 345-67-89", "+79123456789"),
        ("TR", "0532 123 45 67", "+905321234567"),
        ("NG", "0803 123 4567", "+2348031234567"),
        ("MX", "55 1234 5678", "+525512345678"),
    ] {
        assert_eq!(normal(Kind::Phone, spelling, country(home)), number, "{home} {spelling}");
    }
}

#[test]
fn what_is_no_telephone_number_is_refused() {
    for (value, home) in [
        ("139 1234 5678", None),
        ("139 1234 5678", country("AQ")),
        ("call me", country("CN")),
        ("1234", country("DE")),
        ("+1", None),
        ("+1234567890123456", None),
        ("555-2671", country("US")),
        ("12+34567890", country("CN")),
    ] {
        assert!(try_normal(Kind::Phone, value, home).is_err(), "{value} {home:?}");
    }
}

#[test]
fn email_addresses() {
    assert_eq!(normal(Kind::Email, "Info@KSTAR.com.cn ", None), "info@kstar.com.cn");
    assert_eq!(normal(Kind::Email, "A.b+Tag@Bücher.example", None), "a.b+tag@xn--bcher-kva.example");
    assert_eq!(normal(Kind::Email, "jose\u{301}@x.org", None), "jos\u{e9}@x.org");
    assert_eq!(normal(Kind::Email, "用户@例子.中国", None), "用户@xn--fsqu00a.xn--fiqs8s");
    for wrong in ["info", "@x.org", "a@", "a b@x.org", "a@b@x.org", "a@localhost", "a@x..org", "a@-x.org"] {
        assert!(try_normal(Kind::Email, wrong, None).is_err(), "{wrong}");
    }
}

#[test]
fn accounts_keep_their_case() {
    assert_eq!(normal(Kind::Account, " Jose\u{301} ", None), "Jos\u{e9}");
    assert_ne!(normal(Kind::Account, "a", None), normal(Kind::Account, "A", None));
    assert_eq!(normal(Kind::Openid, "oABC-1_x", None), "oABC-1_x");
    assert_eq!(normal(Kind::Station, "Park 7", None), "Park 7");
}

#[test]
fn devices() {
    assert_eq!(normal(Kind::DeviceSerial, "ks-12 ab34", None), "KS12AB34");
    for imei in ["49015420323751", "490154203237518", "49-015420-323751-8", "4901542032375101"] {
        assert_eq!(normal(Kind::Imei, imei, None), "49015420323751", "{imei}");
    }
    assert_eq!(normal(Kind::AndroidId, "9774D56D682E549C", None), "9774d56d682e549c");
    let oaid = "1FE9A970-EFBB-29E0-0BF8-9B0E3BFEA4DD";
    assert_eq!(normal(Kind::Oaid, oaid, None), oaid.to_lowercase());
    for mac in ["00:1A:2B:3C:4D:5E", "00-1a-2b-3c-4d-5e", "001a.2b3c.4d5e", "001A2B3C4D5E"] {
        assert_eq!(normal(Kind::Mac, mac, None), "00:1a:2b:3c:4d:5e");
    }
    for (kind, wrong) in [
        (Kind::Imei, "4901542032375"),
        (Kind::Imei, "4901542032375a1"),
        (Kind::AndroidId, "9774d56d682e549g"),
        (Kind::Mac, "00:1a:2b:3c:4d"),
        (Kind::Oaid, "a b"),
        (Kind::DeviceSerial, "- -"),
    ] {
        assert!(try_normal(kind, wrong, None).is_err(), "{kind} {wrong}");
    }
}

#[test]
fn addresses() {
    assert_eq!(normal(Kind::Ip, "::ffff:192.0.2.1", None), "192.0.2.1");
    assert_eq!(normal(Kind::Ip, "2001:DB8:0:0:0:0:0:1", None), "2001:db8::1");
    assert_eq!(normal(Kind::Ip, "2001:db8:0:1:0:0:0:1", None), "2001:db8:0:1::1");
    assert_eq!(normal(Kind::Ip, "[fe80::1%eth0]", None), "fe80::1");
    for wrong in ["192.0.2", "256.1.1.1", "::g", "192.0.2.1:80"] {
        assert!(try_normal(Kind::Ip, wrong, None).is_err(), "{wrong}");
    }
}

#[test]
fn placeholders_are_dropped() {
    for (kind, value) in [
        (Kind::Mac, "02:00:00:00:00:00"),
        (Kind::Mac, "02-00-00-00-00-00"),
        (Kind::Mac, "00:00:00:00:00:00"),
        (Kind::Oaid, "00000000-0000-0000-0000-000000000000"),
        (Kind::Imei, "000000000000000"),
        (Kind::AndroidId, "unknown"),
        (Kind::DeviceSerial, " Unknown "),
        (Kind::Phone, "00000000000"),
        (Kind::Account, "0"),
        (Kind::Ip, "0.0.0.0"),
        (Kind::Ip, "::"),
    ] {
        assert_eq!(try_normal(kind, value, country("CN")), Ok(None), "{kind} {value}");
    }
}

#[test]
fn realms_stand_where_they_belong() {
    for kind in Kind::ALL {
        let with = normalise(kind, "app".parse().ok(), "1", None);
        let without = normalise(kind, None, "1", None);
        if kind.needs_realm() {
            assert!(with.is_ok() && without == Err(Malformed("needs a realm")), "{kind}");
        } else {
            assert_eq!(with, Err(Malformed("is of a kind that has no realm")), "{kind}");
        }
    }
}

#[test]
fn bounds() {
    for value in ["", "  ", "a\u{0}b", &"x".repeat(321)] {
        assert!(try_normal(Kind::Account, value, None).is_err(), "{value:?}");
    }
    assert!(try_normal(Kind::Account, &"x".repeat(320), None).is_ok());
    // Composed under NFC, some characters become longer.
    assert!(try_normal(Kind::Account, &"\u{fb1d}".repeat(106), None).is_err());
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop::sample::select(Kind::ALL.to_vec())
}

fn values() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[0-9+() -]{6,18}",
        "[0-9A-Fa-f:.-]{8,20}",
        "[ -~À-ỹΑ-Ωα-ωİı]{1,20}@[a-zA-ZÀ-ỹ0-9.-]{1,20}",
    ]
}

proptest! {
    #[test]
    fn is_idempotent(kind in kinds(), value in values(), home in prop::sample::select(vec!["CN", "DE", "US", "IT", "HU"])) {
        if let Ok(Some(once)) = normalise(kind, realm_for(kind), &value, country(home)) {
            let again = normalise(kind, realm_for(kind), once.value.expose(), country(home));
            prop_assert_eq!(again, Ok(Some(once)));
        }
    }

    #[test]
    fn an_international_number_does_not_depend_on_the_country(value in "\\+[1-9][0-9 ()-]{6,16}") {
        let home = |code| try_normal(Kind::Phone, &value, country(code));
        prop_assert_eq!(home("CN"), home("DE"));
    }

    #[test]
    fn spellings_of_a_chinese_mobile_agree(tail in "1[3-9][0-9]{9}", split in 1usize..10) {
        let want = format!("+86{tail}");
        let (a, b) = tail.split_at(split);
        let wide: String = tail.chars().map(|c| char::from_u32(c as u32 + 0xFEE0).unwrap()).collect();
        for spelling in [
            tail.clone(), format!("{a} {b}"), format!("0{tail}"), format!("+86{tail}"), format!("86{tail}"),
            format!("0086 {a}-{b}"), format!("(+86) {a}.{b}"), wide,
        ] {
            prop_assert_eq!(normal(Kind::Phone, &spelling, country("CN")), want.clone(), "{}", spelling);
        }
    }

    #[test]
    fn spellings_of_a_mac_agree(bytes in any::<[u8; 6]>()) {
        let upper = |separator| bytes.map(|b| format!("{b:02X}")).join(separator);
        let spellings = [":", "-", "", " "].map(|separator| try_normal(Kind::Mac, &upper(separator), None));
        prop_assert!(spellings.windows(2).all(|pair| pair[0] == pair[1]));
    }
}
