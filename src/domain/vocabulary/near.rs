//! Known terms that are spelled much like an unknown one, as suggestions for whoever maps it.

/// Suggestions given at most.
const AT_MOST: usize = 3;

/// The nearest of the known terms, if any is near. Case, prefixes such as `pd:` and separators do not count.
pub fn of(term: &str, known: Vec<String>) -> Vec<String> {
    let wanted = bare(term);
    let mut near: Vec<(usize, String)> = known
        .into_iter()
        .filter_map(|known| {
            let other = bare(&known);
            let whole = !wanted.is_empty() && (other.contains(&wanted) || wanted.contains(&other));
            let distance =
                if whole && other.len().min(wanted.len()) >= 3 { 1 } else { distance(&wanted, &other) };
            // A third of the letters may differ.
            (distance * 3 <= wanted.len().max(other.len())).then_some((distance, known))
        })
        .collect();
    near.sort();
    near.into_iter().take(AT_MOST).map(|(_, known)| known).collect()
}

fn bare(term: &str) -> String {
    let name = term.rsplit(':').next().unwrap_or(term);
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Letters to be put in, taken out or changed to make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let b = b.as_bytes();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (n, one) in a.bytes().enumerate() {
        let mut before = row[0];
        row[0] = n + 1;
        for (m, other) in b.iter().enumerate() {
            let changed = before + usize::from(one != *other);
            before = row[m + 1];
            row[m + 1] = changed.min(before + 1).min(row[m] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::vocabulary::{Kind, terms};

    fn category(term: &str) -> Vec<String> {
        of(term, terms(Kind::Category).into_iter().map(|term| term.id.clone()).collect())
    }

    #[test]
    fn what_is_spelled_alike_is_near() {
        assert_eq!(category("email_adress").first().map(String::as_str), Some("pd:EmailAddress"));
        assert_eq!(category("IMEI"), ["x:imei"]);
        assert!(category("gps-coordinates").contains(&"pd:GPSCoordinate".to_owned()));
        assert!(category("zzz").is_empty() && category("").is_empty());
        assert!(category("pd:Picture")[0] == "pd:Picture");
    }

    #[test]
    fn a_distance_counts_letters() {
        let told: Vec<usize> = [("kitten", "sitting"), ("", "abc"), ("abc", ""), ("same", "same")]
            .map(|(a, b)| distance(a, b))
            .to_vec();
        assert_eq!(told, [3, 3, 3, 0]);
    }
}
