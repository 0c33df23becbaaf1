//! Which role may call what: one table, which a test compares with every RPC of the API.

use crate::app::Role::{Auditor, Emitter, Officer, Operator, Recipient, Regulator, SubjectApp};
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
    rpc_of("/custody.v1.AdminService/CheckStorage", &[Operator]),
    rpc_of("/custody.v1.AdminService/GetEmitterGaps", &[Officer, Auditor, Operator]),
    rpc_of("/custody.v1.AdminService/GetStatus", &[Officer, Auditor, Operator]),
    rpc_of("/custody.v1.AdminService/RebuildViews", &[Operator]),
    rpc_of("/custody.v1.BackupService/CreateBackup", &[Operator]),
    rpc_of("/custody.v1.BackupService/ListBackups", &[Operator]),
    rpc_of("/custody.v1.ErasureService/EraseSubjects", &[Officer]),
    rpc_of("/custody.v1.ErasureService/GetErasureCertificate", &[Officer, Auditor]),
    rpc_of("/custody.v1.ErasureService/ListKeptEvidence", &[Officer]),
    rpc_of("/custody.v1.EventService/GetEvent", &[Officer, Auditor, Regulator]),
    rpc_of("/custody.v1.EventService/ListEvents", &[Officer, Auditor, Regulator]),
    rpc_of("/custody.v1.EventService/RetractEvents", &[Emitter, Officer]),
    rpc_of("/custody.v1.ExportService/CreateExport", &[Officer, Auditor]),
    rpc_of("/custody.v1.ExportService/DeleteExport", &[Officer]),
    rpc_of("/custody.v1.ExportService/DownloadExport", &[Officer, Auditor, Regulator]),
    rpc_of("/custody.v1.ExportService/GetExport", &[Officer, Auditor, Regulator]),
    rpc_of("/custody.v1.ExportService/ListExports", &[Officer, Auditor, Regulator]),
    rpc_of("/custody.v1.ExportService/WatchExport", &[Officer, Auditor, Regulator]),
    rpc_of("/custody.v1.FindingService/AcknowledgeFinding", &[Officer]),
    rpc_of("/custody.v1.FindingService/CloseFinding", &[Officer]),
    rpc_of("/custody.v1.FindingService/GetFinding", &[Officer, Auditor]),
    rpc_of("/custody.v1.FindingService/ListFindings", &[Officer, Auditor]),
    rpc_of("/custody.v1.FindingService/ListRules", &[Officer, Auditor, Regulator]),
    rpc_of("/custody.v1.FindingService/ReopenFinding", &[Officer]),
    rpc_of("/custody.v1.IngestService/BatchRecordEvents", &[Emitter, Officer]),
    rpc_of("/custody.v1.IngestService/RecordEvent", &[Emitter, Officer]),
    rpc_of("/custody.v1.IngestService/StreamEvents", &[Emitter, Officer]),
    rpc_of("/custody.v1.InstructionService/AcknowledgeInstruction", &[Emitter, Recipient, Officer]),
    rpc_of("/custody.v1.InstructionService/AcknowledgeService", &[Emitter, Officer]),
    rpc_of("/custody.v1.InstructionService/BeginInstruction", &[Emitter, Recipient, Officer]),
    rpc_of("/custody.v1.InstructionService/BeginService", &[Emitter, Officer]),
    rpc_of("/custody.v1.InstructionService/IssueInstructions", &[Officer]),
    rpc_of("/custody.v1.InstructionService/ListInstructions", &[Emitter, Recipient, Officer, Auditor]),
    rpc_of("/custody.v1.InstructionService/ReassignInstruction", &[Officer]),
    rpc_of("/custody.v1.InstructionService/TakeInstructions", &[Emitter, Recipient, Officer]),
    rpc_of("/custody.v1.InstructionService/WatchInstructions", &[Emitter, Recipient, Officer]),
    rpc_of("/custody.v1.JobService/ListJobRuns", &[Operator]),
    rpc_of("/custody.v1.JobService/ListJobs", &[Operator]),
    rpc_of("/custody.v1.JobService/RunJob", &[Operator]),
    rpc_of("/custody.v1.KeyService/ActivateKey", &[Operator]),
    rpc_of("/custody.v1.KeyService/AddKey", &[Operator]),
    rpc_of("/custody.v1.KeyService/DestroyKey", &[Operator]),
    rpc_of("/custody.v1.KeyService/ListKeys", &[Auditor, Operator]),
    rpc_of("/custody.v1.KeyService/PreviewDestroyKey", &[Operator]),
    rpc_of("/custody.v1.KeyService/RewrapKeys", &[Operator]),
    rpc_of("/custody.v1.LawService/AdoptLaw", &[Officer]),
    rpc_of("/custody.v1.LawService/GetLaw", &[Officer, Auditor, Regulator]),
    rpc_of("/custody.v1.LawService/ListLaws", &[Officer, Auditor, Regulator]),
    rpc_of("/custody.v1.LawService/PreviewLaw", &[Officer, Auditor]),
    rpc_of("/custody.v1.LedgerService/GetCheckpoint", &[Officer, Auditor, Regulator, Operator]),
    rpc_of("/custody.v1.LedgerService/GetConsistencyProof", &[Officer, Auditor, Regulator, Operator]),
    rpc_of("/custody.v1.LedgerService/GetInclusionProof", &[Officer, Auditor, Regulator, Operator]),
    rpc_of("/custody.v1.LedgerService/ListCheckpoints", &[Officer, Auditor, Regulator, Operator]),
    rpc_of("/custody.v1.LedgerService/PublishCheckpoint", &[Operator]),
    rpc_of("/custody.v1.PlanService/ApprovePlan", &[Officer]),
    rpc_of("/custody.v1.PlanService/GetPlan", &[Officer, Auditor]),
    rpc_of("/custody.v1.PlanService/ListPlanItems", &[Officer, Auditor]),
    rpc_of("/custody.v1.PlanService/ListPlans", &[Officer, Auditor]),
    rpc_of("/custody.v1.PlanService/PlanErasures", &[Officer]),
    rpc_of("/custody.v1.PlanService/RejectPlan", &[Officer]),
    rpc_of("/custody.v1.ProcessingService/GetAppLists", &[Officer, Auditor, Regulator]),
    rpc_of("/custody.v1.ProcessingService/ListProcessingRecords", &[Officer, Auditor, Regulator]),
    rpc_of("/custody.v1.ProcessingService/ListProcessorRecords", &[Officer, Auditor, Regulator]),
    rpc_of("/custody.v1.ProcessingService/ListSdks", &[Officer, Auditor, Regulator]),
    rpc_of("/custody.v1.QuestionService/CheckUse", &[Emitter, SubjectApp, Officer, Auditor]),
    rpc_of("/custody.v1.QuestionService/CountPopulation", &[Officer, Auditor]),
    rpc_of("/custody.v1.QuestionService/ListPopulation", &[Officer, Auditor]),
    rpc_of("/custody.v1.RegisterService/ApplyRegisterEntries", &[Officer]),
    rpc_of("/custody.v1.RegisterService/GetRegisterEntry", &[Officer, Auditor]),
    rpc_of("/custody.v1.RegisterService/ListRegisterEntries", &[Officer, Auditor]),
    rpc_of("/custody.v1.RegisterService/ListRegisterHistory", &[Officer, Auditor]),
    rpc_of("/custody.v1.RetentionService/ExplainRetention", &[Officer, Auditor]),
    rpc_of("/custody.v1.RetentionService/ForecastRetention", &[Officer, Auditor]),
    rpc_of("/custody.v1.SubjectService/FindSubject", &[Officer]),
    rpc_of("/custody.v1.SubjectService/GetSubjectReport", &[SubjectApp, Officer, Auditor]),
    rpc_of("/custody.v1.SubjectService/ListSubjectEvents", &[SubjectApp, Officer, Auditor]),
    rpc_of("/custody.v1.TermService/ListUnmappedTerms", &[Officer, Auditor]),
    rpc_of("/custody.v1.TermService/MapTerm", &[Officer]),
    rpc_of("/custody.v1.TransferService/ListExportCounters", &[Officer, Auditor, Regulator]),
    rpc_of("/custody.v1.TransferService/ListTransfers", &[Officer, Auditor, Regulator]),
    rpc_of("/custody.v1.TransferService/ListUncoveredTransfers", &[Officer, Auditor, Regulator]),
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

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    /// Standard services that tell nothing about people and carry no gate.
    const EXCEPT: [&str; 3] = [
        "/grpc.health.v1.Health/",
        "/grpc.reflection.v1.ServerReflection/",
        "/grpc.reflection.v1alpha.ServerReflection/",
    ];

    #[test]
    fn every_rpc_has_its_roles_and_no_other_stands_here() {
        let set = prost_types::FileDescriptorSet::decode(crate::pb::FILE_DESCRIPTOR_SET).unwrap();
        let mut paths = Vec::new();
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    paths.push(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
                }
            }
        }
        paths.retain(|path| !EXCEPT.iter().any(|except| path.starts_with(except)));
        paths.sort();
        let table: Vec<&str> = TABLE.iter().map(|rpc| rpc.path).collect();
        assert_eq!(table, paths, "the table, sorted, and the API name the same RPCs");
        assert!(TABLE.iter().all(|rpc| !rpc.roles.is_empty()));
    }

    #[test]
    fn the_least_that_each_role_needs() {
        let may = |role: Role| -> Vec<&str> {
            let caller = Caller { roles: vec![role], ..Caller::local() };
            TABLE.iter().filter(|rpc| rpc.admit(&caller).is_ok()).map(|rpc| rpc.path).collect()
        };
        assert!(
            may(Emitter).iter().all(|path| {
                ["IngestService", "InstructionService", "/CheckUse", "/RetractEvents"]
                    .iter()
                    .any(|its| path.contains(its))
            }),
            "an emitter records, asks before it acts, takes back what was wrong, and does what it is told"
        );
        assert!(
            may(Role::Recipient).iter().all(|path| path.contains("InstructionService")),
            "a recipient does what it is told"
        );
        assert!(
            may(Operator).iter().all(|path| {
                ["AdminService", "BackupService", "JobService", "KeyService", "LedgerService"]
                    .iter()
                    .any(|service| path.contains(service))
            }),
            "an operator reads nothing about people"
        );
        let keys = may(Auditor).into_iter().filter(|path| path.contains("KeyService"));
        assert_eq!(keys.collect::<Vec<_>>(), ["/custody.v1.KeyService/ListKeys"]);
        assert!(!may(Auditor).iter().any(|path| path.contains("Ingest") || path.contains("FindSubject")));
        let caller = Caller { roles: vec![Role::Recipient], ..Caller::local() };
        let refused = rpc("/custody.v1.IngestService/RecordEvent").unwrap().admit(&caller).unwrap_err();
        assert_eq!(refused.reason(), "role_forbidden");
    }
}
