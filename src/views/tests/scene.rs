//! Events in the order in which they are said, and what is found by them.

use super::*;
use crate::domain::id::Country;
use crate::domain::time::LocalDate;
use crate::views::findings::DETECTOR;

pub fn list<T, const N: usize>(items: impl IntoIterator<Item = T>) -> List<T, N> {
    List::new(items.into_iter().collect()).unwrap()
}

pub fn ids<const N: usize>(names: &[&str]) -> List<Id, N> {
    list(names.iter().map(|name| id(name)))
}

pub fn country(text: &str) -> Option<Country> {
    text.parse().ok()
}

pub fn on(date: &str) -> Option<LocalDate> {
    Some(LocalDate { date: date.parse().unwrap(), tz: chrono_tz::Asia::Shanghai })
}

/// Events in the order in which they are said.
#[derive(Default, Clone)]
pub struct Scene(pub Vec<Made>);

impl Scene {
    pub fn say(&mut self, at: Timestamp, body: Body, named: Vec<Named>) -> &mut Made {
        let n = self.0.len() as u64;
        self.0.push(made(n, at, body, named));
        self.0.last_mut().unwrap()
    }

    pub fn tick(&mut self, at: Timestamp) {
        let body = JobRan {
            job: Some(id(DETECTOR)),
            scheduled_for: Some(at),
            outcome: Some(JobOutcome::Ok),
            ..JobRan::default()
        };
        self.say(at, Body::JobRan(Box::new(body)), Vec::new());
    }

    pub fn views(&self) -> (House, Arc<Views>) {
        let house = House::new();
        for made in &self.0 {
            house.record(made);
        }
        let views = house.open();
        (house, views)
    }

    /// The same events as they might have come in.
    pub fn shuffled(&self, seed: &mut u64) -> Scene {
        let mut shuffled = self.clone();
        for n in (1..shuffled.0.len()).rev() {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            shuffled.0.swap(n, (*seed >> 33) as usize % (n + 1));
        }
        shuffled
    }

    /// Every finding as `key xcount`, at the end of the scene and a tick behind it; but for those about notices,
    /// which nobody shows where a scene is about something else.
    pub fn found(&self) -> Vec<String> {
        let mut all = self.all();
        all.retain(|told| !told.starts_with("F-NOTICE-MISSING "));
        all
    }

    /// Every finding but for what is kept without a rule, because few scenes have one.
    pub fn all(&self) -> Vec<String> {
        let mut scene = self.clone();
        let last = scene.0.iter().map(|made| made.event.envelope.occurred_at).max().unwrap_or(day(0));
        scene.tick(last.plus_ms(3_600_000));
        let (_house, views) = scene.views();
        let mut all = told(&views);
        all.retain(|told| !told.starts_with("F-RETENTION-UNDEFINED "));
        all
    }
}

pub fn told(views: &Views) -> Vec<String> {
    let found = views.ask().unwrap().findings(None).unwrap();
    assert_eq!(found.unjudged, 0);
    found.findings.iter().map(|finding| format!("{} x{}", finding.key, finding.count)).collect()
}

pub fn of<'a>(told: &'a [String], code: &str) -> Vec<&'a str> {
    told.iter().filter(|told| told.starts_with(&format!("{code} "))).map(String::as_str).collect()
}
