//! When jobs run: an expression and a zone for each, over those of the default file.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use toml::{Table, Value};

use super::layers::{DEFAULT_TOML, flat};
use crate::jobs::schedule::Schedule;

/// The section of the file.
pub const SECTION: &str = "jobs";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jobs {
    /// The zone of the deployment.
    pub tz: String,
    /// By name; exactly those that the default file names.
    pub each: BTreeMap<String, Timing>,
}

/// As it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timing {
    pub schedule: String,
    /// Empty: that of the deployment.
    pub tz: String,
}

impl Jobs {
    /// From `section.key` and `section.job.key`, as the layers have them.
    pub fn read(values: &BTreeMap<String, Value>) -> Jobs {
        let mut jobs = Jobs { tz: String::new(), each: BTreeMap::new() };
        for (key, value) in values {
            let text = value.as_str().unwrap_or_default().to_owned();
            match key.split('.').collect::<Vec<_>>()[..] {
                [SECTION, "tz"] => jobs.tz = text,
                [SECTION, job, "schedule"] => jobs.of(job).schedule = text,
                [SECTION, job, "tz"] => jobs.of(job).tz = text,
                _ => {}
            }
        }
        jobs
    }

    fn of(&mut self, job: &str) -> &mut Timing {
        self.each.entry(job.to_owned()).or_default()
    }

    /// When a job is due; `None` if it is off. An error says what is wrong with which key.
    pub fn schedule(&self, job: &str) -> Result<Option<Schedule>, Vec<String>> {
        let Some(timing) = self.each.get(job) else { return Err(vec![format!("jobs.{job} is not there")]) };
        let (key, name) = if timing.tz.is_empty() {
            ("jobs.tz".to_owned(), &self.tz)
        } else {
            (format!("jobs.{job}.tz"), &timing.tz)
        };
        let zone = name.parse::<Tz>();
        // An expression is looked at even where its zone is none, so that both are told.
        let zoned = *zone.as_ref().unwrap_or(&Tz::UTC);
        let schedule = match timing.schedule.as_str() {
            "off" => Ok(None),
            text => Schedule::parse(text, zoned).map(Some),
        };
        match (zone, schedule) {
            (Ok(_), Ok(schedule)) => Ok(schedule),
            (zone, schedule) => {
                let zone =
                    zone.err().map(|_| format!("{key} = {name:?} is no IANA zone, such as Europe/Berlin"));
                let text = &timing.schedule;
                let schedule = schedule.err().map(|why| format!("jobs.{job}.schedule = {text:?} {why}"));
                Err(zone.into_iter().chain(schedule).collect())
            }
        }
    }

    pub fn check(&self, problems: &mut Vec<String>) {
        let mut wrong: Vec<String> =
            self.each.keys().filter_map(|job| self.schedule(job).err()).flatten().collect();
        // The zone of the deployment is one line, however many jobs have it.
        wrong.sort();
        wrong.dedup();
        problems.extend(wrong);
    }
}

impl Default for Jobs {
    fn default() -> Self {
        let table: Table = DEFAULT_TOML.parse().unwrap_or_default();
        Jobs::read(&flat(table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_field_is_named_and_off_is_allowed() {
        let mut jobs = Jobs { tz: "Europe/Berlin".to_owned(), ..Jobs::default() };
        let mut problems = Vec::new();
        jobs.of("detector").schedule = "off".to_owned();
        jobs.check(&mut problems);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(jobs.schedule("detector"), Ok(None));
        let zone = jobs.schedule("mechanism_watch").unwrap().unwrap().zone();
        assert_eq!(zone, chrono_tz::Europe::Berlin, "of the deployment");
        *jobs.of("detector") = Timing { schedule: "* * *".to_owned(), tz: "Berlin".to_owned() };
        jobs.of("cn_counter").schedule = "0 0 30 2 *".to_owned();
        jobs.tz = "Mars".to_owned();
        jobs.check(&mut problems);
        let parts = ["detector.schedule", "detector.tz", "cn_counter.schedule", "jobs.tz = \"Mars\""];
        assert!(parts.iter().all(|part| problems.iter().any(|line| line.contains(part))), "{problems:#?}");
        assert_eq!(problems.len(), parts.len(), "{problems:#?}");
    }
}
