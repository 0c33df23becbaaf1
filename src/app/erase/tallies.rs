//! How an erased person counted, coarsely, so that counts survive a rebuild (`domain.md` 2.2, 3.6).

use std::collections::BTreeSet;

use crate::domain::event::{FindingTally, TransferTally};
use crate::domain::finding::Key;
use crate::domain::id::Id;
use crate::limits;
use crate::views::counter::erased_line;
use crate::views::exported::year_of;
use crate::views::farewell::Transfer;

/// Over everything that was exported.
const ALL: &str = "all";

/// One for each year and level in which somebody was among those whose data were transferred: over all, for
/// each line (`exporter:importer:country`), and for each exporter from China (`exporter:CN`), whose numbers the
/// law counts. Years begin where that law's do (2024 Provisions, Art. 3), at midnight in Shanghai.
pub fn of(transfers: &[Transfer]) -> Vec<TransferTally> {
    let Ok(all) = ALL.parse::<Id>() else { return Vec::new() };
    let (mut over_all, mut lines) = (BTreeSet::new(), BTreeSet::new());
    for Transfer { at, flow, exempt } in transfers {
        let (year, sensitive) = (u64::from(year_of(*at)), flow.sensitive);
        over_all.insert((year, sensitive));
        let from_china = flow.from.as_str() == "CN" && flow.to != flow.from && !exempt;
        let counted = erased_line(&flow.exporter).filter(|_| from_china);
        // What is too long for a name counts over all only.
        let line = format!("{}:{}:{}", flow.exporter, flow.importer, flow.to.as_str()).parse::<Id>().ok();
        lines.extend(counted.into_iter().chain(line).map(|line| (line, year, sensitive)));
    }
    let all =
        over_all.into_iter().map(|(year, sensitive)| TransferTally { line: all.clone(), year, sensitive });
    let lines = lines.into_iter().map(|(line, year, sensitive)| TransferTally { line, year, sensitive });
    all.chain(lines).take(limits::LIST).collect()
}

/// One for each finding about somebody; what an event has no room for besides the transfers does not go on
/// counting, the most frequent first.
pub fn of_findings(found: &[(Key, u64)], taken: usize) -> Vec<FindingTally> {
    let mut found: Vec<&(Key, u64)> = found.iter().collect();
    found.sort_by(|(a, n), (b, other)| (other, a).cmp(&(n, b)));
    let tallies = found.into_iter().filter_map(|(key, count)| {
        let code = key.code().parse().ok()?;
        Some(FindingTally { code, key: Some(key.brief()), count: (*count).min(limits::NUMBER) })
    });
    tallies.take(limits::LIST.saturating_sub(taken)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::transfer::Flow;

    fn transfer(at: &str, from: &str, to: &str, sensitive: bool, exempt: bool) -> Transfer {
        let flow = Flow {
            exporter: "kstar".parse().unwrap(),
            importer: "aws".parse().unwrap(),
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            cats: BTreeSet::new(),
            purposes: BTreeSet::new(),
            sensitive,
            exemption: None,
        };
        Transfer { at: at.parse().unwrap(), flow, exempt }
    }

    #[test]
    fn findings_take_the_room_that_is_left() {
        let key = |service: &str| {
            format!("F-NO-CONSENT service={service} purpose=direct_marketing").parse::<Key>().unwrap()
        };
        let found = [(key("a"), 1), (key("b"), 7), (key("c"), 1)];
        let told: Vec<String> = of_findings(&found, limits::LIST - 2)
            .iter()
            .map(|t| format!("{} {} {}", t.code, t.key.as_ref().unwrap(), t.count))
            .collect();
        assert_eq!(told, ["F-NO-CONSENT k~b~direct_marketing 7", "F-NO-CONSENT k~a~direct_marketing 1"]);
        assert!(of_findings(&found, limits::LIST).is_empty());
    }

    #[test]
    fn one_per_year_line_and_level() {
        let new_year = "2025-12-31T16:00:00Z";
        let transfers = [
            transfer(new_year, "CN", "DE", false, false),
            transfer(new_year, "CN", "DE", false, false),
            transfer("2025-12-31T15:59:59Z", "DE", "CN", true, false),
            transfer("2026-05-01T00:00:00Z", "CN", "DE", true, true),
        ];
        let told: Vec<String> =
            of(&transfers).iter().map(|t| format!("{} {} {}", t.line, t.year, t.sensitive)).collect();
        assert_eq!(
            told,
            [
                "all 2025 true",
                "all 2026 false",
                "all 2026 true",
                "kstar:CN 2026 false",
                "kstar:aws:CN 2025 true",
                "kstar:aws:DE 2026 false",
                "kstar:aws:DE 2026 true"
            ]
        );
        assert!(of(&[]).is_empty());
    }
}
