//! Which role may call what: one table, which a test compares with every RPC of the API.

use crate::app::Role::{Auditor, Emitter, Officer, Operator};
use crate::app::{Caller, Error, Role};

/// An RPC with the roles that may call it.
#[derive(Debug, PartialEq, Eq)]
pub struct Rpc {
    pub path: &'static str,
    roles: &'static [Role],
}

const fn rpc_of(path: &'static str, roles: &'static [Role]) -> Rpc {
    Rpc { path, roles }
}

/// Sorted by path.
#[rustfmt::skip]
const TABLE: &[Rpc] = &[
    rpc_of("/custody.v1.IngestService/RecordEvent", &[Emitter, Officer]),
];

/// The table's entry of a path.
pub fn rpc(path: &str) -> Option<&'static Rpc> {
    TABLE.binary_search_by(|rpc| rpc.path.cmp(path)).ok().map(|i| &TABLE[i])
}

impl Rpc {
    /// Whether this caller may call it.
    pub fn admit(&self, caller: &Caller) -> Result<(), Error> {
        if self.roles.iter().any(|role| caller.has(*role)) {
            return Ok(());
        }
        let names: Vec<&str> = self.roles.iter().map(|role| role.as_str()).collect();
        let why = format!("{} has none of the roles {} that this call needs", caller.name, names.join(", "));
        Err(Error::PermissionDenied { reason: "role_forbidden", why })
    }
}
