//! Telephone numbers to E.164: what a country dials, as data.
//!
//! A number is not checked against numbering plans, which change weekly: length and prefix are
//! enough for two spellings of one number to agree.

use unicode_normalization::UnicodeNormalization;

use crate::domain::id::{Country, Malformed};

/// How a country writes a number at home.
struct Plan {
    country: &'static str,
    calling_code: &'static str,
    /// Dialled before the national number inside the country; empty where there is none.
    trunk: &'static str,
    /// Shortest and longest national significant number, in digits.
    digits: (usize, usize),
}

const fn plan(
    country: &'static str,
    calling_code: &'static str,
    trunk: &'static str,
    min: usize,
    max: usize,
) -> Plan {
    Plan { country, calling_code, trunk, digits: (min, max) }
}

/// ITU-T E.164 and the national trunk prefixes (ITU-T E.164.C), as of 2025.
const PLANS: &[Plan] = &[
    plan("AE", "971", "0", 8, 9),
    plan("AR", "54", "0", 10, 11),
    plan("AT", "43", "0", 4, 13),
    plan("AU", "61", "0", 9, 9),
    plan("BD", "880", "0", 6, 10),
    plan("BE", "32", "0", 8, 9),
    plan("BG", "359", "0", 7, 9),
    plan("BH", "973", "", 8, 8),
    plan("BR", "55", "0", 10, 11),
    plan("CA", "1", "1", 10, 10),
    plan("CH", "41", "0", 9, 9),
    plan("CL", "56", "", 9, 9),
    plan("CN", "86", "0", 8, 11),
    plan("CO", "57", "", 10, 10),
    plan("CY", "357", "", 8, 8),
    plan("CZ", "420", "", 9, 9),
    plan("DE", "49", "0", 5, 12),
    plan("DK", "45", "", 8, 8),
    plan("EC", "593", "0", 8, 9),
    plan("EE", "372", "", 7, 8),
    plan("EG", "20", "0", 8, 10),
    plan("ES", "34", "", 9, 9),
    plan("FI", "358", "0", 5, 12),
    plan("FR", "33", "0", 9, 9),
    plan("GB", "44", "0", 9, 10),
    plan("GH", "233", "0", 9, 9),
    plan("GR", "30", "", 10, 10),
    plan("HK", "852", "", 8, 8),
    plan("HR", "385", "0", 8, 9),
    plan("HU", "36", "06", 8, 9),
    plan("ID", "62", "0", 8, 12),
    plan("IE", "353", "0", 7, 9),
    plan("IL", "972", "0", 8, 9),
    plan("IN", "91", "0", 10, 10),
    plan("IQ", "964", "0", 8, 10),
    plan("IS", "354", "", 7, 9),
    // The leading zero of an Italian number is part of it.
    plan("IT", "39", "", 6, 12),
    plan("JO", "962", "0", 8, 9),
    plan("JP", "81", "0", 9, 10),
    plan("KE", "254", "0", 9, 9),
    plan("KH", "855", "0", 8, 9),
    plan("KR", "82", "0", 8, 10),
    plan("KW", "965", "", 8, 8),
    plan("KZ", "7", "8", 10, 10),
    plan("LB", "961", "0", 7, 8),
    plan("LI", "423", "", 7, 9),
    plan("LK", "94", "0", 9, 9),
    plan("LT", "370", "0", 8, 8),
    plan("LU", "352", "", 4, 11),
    plan("LV", "371", "", 8, 8),
    plan("MA", "212", "0", 9, 9),
    plan("MM", "95", "0", 7, 10),
    plan("MO", "853", "", 8, 8),
    plan("MT", "356", "", 8, 8),
    plan("MX", "52", "", 10, 10),
    plan("MY", "60", "0", 8, 10),
    plan("NG", "234", "0", 8, 10),
    plan("NL", "31", "0", 9, 9),
    plan("NO", "47", "", 8, 8),
    plan("NZ", "64", "0", 8, 10),
    plan("OM", "968", "", 8, 8),
    plan("PE", "51", "0", 8, 9),
    plan("PH", "63", "0", 8, 10),
    plan("PK", "92", "0", 9, 10),
    plan("PL", "48", "", 9, 9),
    plan("PT", "351", "", 9, 9),
    plan("QA", "974", "", 8, 8),
    plan("RO", "40", "0", 9, 9),
    plan("RS", "381", "0", 8, 9),
    plan("RU", "7", "8", 10, 10),
    plan("SA", "966", "0", 9, 9),
    plan("SE", "46", "0", 7, 10),
    plan("SG", "65", "", 8, 8),
    plan("SI", "386", "0", 8, 8),
    plan("SK", "421", "0", 9, 9),
    plan("TH", "66", "0", 8, 9),
    plan("TN", "216", "", 8, 8),
    plan("TR", "90", "0", 10, 10),
    plan("TW", "886", "0", 8, 9),
    plan("UA", "380", "0", 9, 9),
    plan("US", "1", "1", 10, 10),
    plan("UY", "598", "0", 8, 8),
    plan("VN", "84", "0", 9, 10),
    plan("ZA", "27", "0", 9, 9),
];

/// E.164 allows 15 digits; nobody has fewer than 7 with the calling code.
const DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

pub(super) fn normalise(value: &str, home: Option<Country>) -> Result<String, Malformed> {
    let (international, digits) = digits_of(value)?;
    if international {
        return finish(without_inner_trunk(&digits));
    }
    // Written with the calling code but without its plus: only where it is beyond doubt.
    if is_chinese_mobile(&digits) {
        return finish(digits);
    }
    let home = home.ok_or(Malformed("has no country prefix, and the service no country"))?;
    let plan = PLANS
        .iter()
        .find(|plan| plan.country == home.as_str())
        .ok_or(Malformed("has no country prefix, and the form of its country's numbers is not known"))?;
    finish(format!("{}{}", plan.calling_code, national(plan, &digits)?))
}

/// Whether it began with `+` or `00`, and the digits after that. Brackets, dots and blanks go.
fn digits_of(value: &str) -> Result<(bool, String), Malformed> {
    let mut plus = false;
    let mut digits = String::with_capacity(value.len());
    for c in value.nfkc() {
        match c {
            '0'..='9' => digits.push(c),
            '+' if digits.is_empty() && !plus => plus = true,
            _ if is_separator(c) => {}
            _ => return Err(Malformed("is not a telephone number")),
        }
    }
    if !plus && let Some(rest) = digits.strip_prefix("00") {
        return Ok((true, rest.to_owned()));
    }
    Ok((plus, digits))
}

/// NFKC has made full-width forms ASCII already, but leaves the many dashes and the CJK dot.
fn is_separator(c: char) -> bool {
    c.is_whitespace()
        || "()[]{}<>-./·・•_".contains(c)
        || ('\u{2010}'..='\u{2015}').contains(&c)
        || matches!(c, '\u{2212}' | '\u{200b}'..='\u{200e}' | '\u{202a}'..='\u{202e}' | '\u{feff}' | '【' | '】')
}

/// Eleven digits beginning with 1, after 86.
fn is_chinese_mobile(digits: &str) -> bool {
    digits.len() == 13 && digits.starts_with("861")
}

/// `+49 (0)151 ...`: the trunk zero that people write for those who call from home.
fn without_inner_trunk(digits: &str) -> String {
    let plan = PLANS.iter().find(|plan| plan.trunk == "0" && digits.starts_with(plan.calling_code));
    let Some((plan, rest)) = plan.and_then(|p| Some((p, digits.strip_prefix(p.calling_code)?))) else {
        return digits.to_owned();
    };
    format!("{}{}", plan.calling_code, rest.trim_start_matches('0'))
}

fn national<'a>(plan: &Plan, digits: &'a str) -> Result<&'a str, Malformed> {
    let fits = |number: &str| (plan.digits.0..=plan.digits.1).contains(&number.len());
    let number = if plan.trunk.is_empty() {
        digits
    } else {
        digits.strip_prefix(plan.trunk).filter(|rest| fits(rest)).unwrap_or(digits)
    };
    if fits(number) && (plan.trunk != "0" || !number.starts_with('0')) {
        Ok(number)
    } else {
        Err(Malformed("is not a telephone number of the service's country"))
    }
}

fn finish(digits: String) -> Result<String, Malformed> {
    if !DIGITS.contains(&digits.len()) || digits.starts_with('0') {
        return Err(Malformed("is not a telephone number"));
    }
    Ok(format!("+{digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_sorted_countries_with_lengths_that_make_sense() {
        assert!(PLANS.is_sorted_by_key(|plan| plan.country));
        for plan in PLANS {
            assert!(plan.country.parse::<Country>().is_ok(), "{}", plan.country);
            assert!(plan.digits.0 <= plan.digits.1 && plan.digits.1 + plan.calling_code.len() <= 15);
        }
        let members =
            "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IS IT LI LT LU LV MT NL NO PL PT RO SE SI SK";
        for member in members.split(' ') {
            assert!(PLANS.iter().any(|plan| plan.country == member), "EEA: {member}");
        }
    }

    #[test]
    fn no_calling_code_begins_another() {
        for a in PLANS {
            for b in PLANS {
                let inside = a.calling_code.starts_with(b.calling_code);
                assert!(!inside || a.calling_code == b.calling_code, "{} {}", a.country, b.country);
            }
        }
    }
}
