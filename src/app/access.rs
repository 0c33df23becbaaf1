//! Who is asking, and on whose behalf. Which role may call what stands in `api/access.rs`.

use serde::{Deserialize, Serialize};

use crate::app::error::Error;
use crate::app::own::EMITTER;
use crate::domain::event::Event;
use crate::domain::id::{Country, Id};

/// What a caller is to custody; each has the least that its work needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Records what its service does.
    Emitter,
    /// Acknowledges instructions and notices it was sent.
    Recipient,
    /// The company's app, asking for the person who uses it.
    SubjectApp,
    /// Answers people and authorities; opens sealed fields.
    Officer,
    /// Reads everything but sealed fields.
    Auditor,
    /// Reads what an authority may see.
    Regulator,
    /// Runs the service; reads nothing about people.
    Operator,
}

impl Role {
    pub const ALL: [Role; 7] = [
        Role::Emitter,
        Role::Recipient,
        Role::SubjectApp,
        Role::Officer,
        Role::Auditor,
        Role::Regulator,
        Role::Operator,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Role::Emitter => "emitter",
            Role::Recipient => "recipient",
            Role::SubjectApp => "subject_app",
            Role::Officer => "officer",
            Role::Auditor => "auditor",
            Role::Regulator => "regulator",
            Role::Operator => "operator",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Role::ALL.map(Role::as_str).join(", ");
        Role::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| format!("is none of {}", names()))
    }
}

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The name of its token; stands in `RecordsRead` events as the actor.
    pub name: Id,
    pub roles: Vec<Role>,
    /// `None`: any controller of the group.
    pub controller: Option<Id>,
    /// Empty: any service of its controller.
    pub services: Vec<Id>,
    /// The emitter names it may use. Empty: any (the local caller).
    pub emitters: Vec<Id>,
    /// Where the accounts it names live, the home realm first.
    pub realms: Vec<Id>,
    /// The country whose national form its telephone numbers have; `None`: the server's.
    pub home_country: Option<Country>,
}

impl Caller {
    /// Whoever is on this machine while no token is configured.
    pub fn local() -> Self {
        Caller {
            name: "local".parse().expect("an id of this file is well-formed"),
            roles: Role::ALL.to_vec(),
            controller: None,
            services: Vec::new(),
            emitters: Vec::new(),
            realms: Vec::new(),
            home_country: None,
        }
    }

    /// Custody itself, recording what it did.
    pub fn custody(emitter: Id) -> Self {
        Caller { name: emitter.clone(), roles: Vec::new(), emitters: vec![emitter], ..Caller::local() }
    }

    /// Whether it is custody itself.
    pub fn is_custody(&self) -> bool {
        self.name.as_str() == EMITTER
    }

    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Whether whatever it is told reaches the person it asks about.
    pub fn speaks_to_the_person(&self) -> bool {
        self.has(Role::SubjectApp) && !self.has(Role::Officer) && !self.has(Role::Auditor)
    }

    /// Whether sealed fields may be opened for it, once the read is recorded.
    pub fn may_open(&self) -> Result<(), Error> {
        if self.has(Role::Officer) || self.has(Role::SubjectApp) {
            return Ok(());
        }
        let why = format!("{} may not open sealed fields", self.name);
        Err(Error::PermissionDenied { reason: "role_forbidden", why })
    }

    pub fn home_realm(&self) -> Option<&Id> {
        self.realms.first()
    }

    /// Whether it may ask about what a service does. Of what is of no service anybody may.
    pub fn may_ask_of(&self, service: Option<&Id>) -> Result<(), Error> {
        match service {
            Some(service) if !self.services.is_empty() && !self.services.contains(service) => {
                let why = format!("{} may not ask about service {service}", self.name);
                Err(Error::PermissionDenied { reason: "not_your_service", why })
            }
            _ => Ok(()),
        }
    }

    /// Whether it may record this event.
    pub fn may_emit(&self, event: &Event) -> Result<(), Error> {
        let envelope = &event.envelope;
        let own = envelope.emitter.as_str() == EMITTER || event.body.event_type().is_own();
        if own && !self.is_custody() {
            let why = format!("{} events are custody's own", event.body.event_type().as_str());
            return Err(Error::PermissionDenied { reason: "reserved_type", why });
        }
        self.may_speak_for(&envelope.controller, &envelope.emitter, envelope.service.as_ref())
    }

    /// An emitter speaks only for itself, its controller and its services.
    pub fn may_speak_for(&self, controller: &Id, emitter: &Id, service: Option<&Id>) -> Result<(), Error> {
        let denied = |what: &str, id: &Id| {
            let why = format!("{} may not speak for {what} {id}", self.name);
            Err(Error::PermissionDenied { reason: "not_your_service", why })
        };
        if self.controller.as_ref().is_some_and(|own| own != controller) {
            return denied("controller", controller);
        }
        if !self.emitters.is_empty() && !self.emitters.contains(emitter) {
            return denied("emitter", emitter);
        }
        match service {
            Some(service) if !self.services.is_empty() && !self.services.contains(service) => {
                denied("service", service)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Id {
        text.parse().unwrap()
    }

    #[test]
    fn an_emitter_speaks_only_for_its_own() {
        let caller = Caller {
            controller: Some(id("kstar")),
            services: vec![id("solar")],
            emitters: vec![id("solar-app")],
            ..Caller::local()
        };
        let (kstar, app, solar, other) = (id("kstar"), id("solar-app"), id("solar"), id("other"));
        assert!(caller.may_speak_for(&kstar, &app, Some(&solar)).is_ok());
        assert!(caller.may_speak_for(&kstar, &app, None).is_ok());
        for (c, e, s) in [(&other, &app, &solar), (&kstar, &other, &solar), (&kstar, &app, &other)] {
            let error = caller.may_speak_for(c, e, Some(s)).unwrap_err();
            assert_eq!(error.reason(), "not_your_service");
        }
        assert!(Caller::local().may_speak_for(&other, &other, Some(&other)).is_ok());
    }

    #[test]
    fn roles_read_as_they_are_written() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
        assert!("root".parse::<Role>().is_err_and(|e| e.contains("emitter, recipient")));
    }
}
