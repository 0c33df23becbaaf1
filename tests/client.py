"""A service's developer, and then an officer, with nothing but grpcio and the files in proto/.

usage: client.py STUBS ADDRESS     (STUBS: where grpc_tools.protoc put the generated modules)

Records one event, a batch and a stream, retries, provokes a conflict and a refusal, and asks for
the report. Every step is checked; the first that does not hold ends the script.
"""
import datetime, sys, uuid

sys.path.insert(0, sys.argv[1])
import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2
from custody.v1 import enums_pb2, event_pb2, processing_pb2, people_pb2
from custody.v1 import ingest_service_pb2 as ingest, ingest_service_pb2_grpc as ingest_grpc
from custody.v1 import subject_service_pb2 as subjects, subject_service_pb2_grpc as subjects_grpc

channel = grpc.insecure_channel(sys.argv[2])
ingestion = ingest_grpc.IngestServiceStub(channel)
officer = subjects_grpc.SubjectServiceStub(channel)


def now():
    at = Timestamp()
    at.FromDatetime(datetime.datetime.now(datetime.timezone.utc))
    return at


ACCOUNT = event_pb2.Identifier(kind=event_pb2.IDENTIFIER_KIND_ACCOUNT, realm="solar", value="20015")
PHONE = event_pb2.Identifier(kind=event_pb2.IDENTIFIER_KIND_PHONE, value="139 1234 5678")


def event(identifiers=(ACCOUNT,), **body):
    person = event_pb2.Person(role=enums_pb2.ROLE_DATA_SUBJECT, identifiers=identifiers)
    return event_pb2.Event(
        event_id=str(uuid.uuid4()), controller="kstar", emitter="python-client", service="solar",
        occurred_at=now(), people=[person], **body)


def collected(category):
    return processing_pb2.DataCollected(
        record_kind="profile", cats=[category], source=enums_pb2.SOURCE_SUBJECT, locator="accounts/20015",
        purposes=[{"id": "service_provision", "basis": enums_pb2.LEGAL_BASIS_CONTRACT}])


# One event: the receipt says where it lies, and a retry gets the same one.
registered = event((ACCOUNT, PHONE), account_registered=people_pb2.AccountRegistered(account_kind="app"))
first = ingestion.RecordEvent(ingest.RecordEventRequest(event=registered)).receipt
assert len(first.leaf_hash) == 32 and not first.duplicate and first.attributed, first
again = ingestion.RecordEvent(ingest.RecordEventRequest(event=registered)).receipt
assert again.duplicate and (again.position, again.leaf_hash) == (first.position, first.leaf_hash), again
assert again.recorded_at == first.recorded_at
print("recorded at", first.position, "and retried")

# Another event under the same id is a conflict.
other = event_pb2.Event()
other.CopyFrom(registered)
other.account_registered.account_kind = "web"
try:
    ingestion.RecordEvent(ingest.RecordEventRequest(event=other))
    sys.exit("a conflict was taken")
except grpc.RpcError as refused:
    assert refused.code() == grpc.StatusCode.ALREADY_EXISTS, refused
print("conflict refused")

# Everything that is wrong is named at once, each with its field.
wrong = event(data_collected=processing_pb2.DataCollected(cats=["two words"], storage_country="XX"))
wrong.event_id = "not-a-uuid"
try:
    ingestion.RecordEvent(ingest.RecordEventRequest(event=wrong))
    sys.exit("a malformed event was taken")
except grpc.RpcError as refused:
    assert refused.code() == grpc.StatusCode.INVALID_ARGUMENT, refused
    packed = dict(refused.trailing_metadata())["grpc-status-details-bin"]
    fields = set()
    for detail in status_pb2.Status.FromString(packed).details:
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            fields |= {violation.field for violation in bad.field_violations}
    expected = {"event.event_id", "event.data_collected.cats[0]", "event.data_collected.storage_country"}
    assert expected <= fields, fields
print("refusal named", len(fields), "fields")

# A batch answers for each event; one bad event fails alone.
batch = [event(data_collected=collected("pd:Username")), wrong, event(data_collected=collected("pd:EmailAddress"))]
outcomes = ingestion.BatchRecordEvents(ingest.BatchRecordEventsRequest(events=batch)).outcomes
assert [o.WhichOneof("result") for o in outcomes] == ["receipt", "error", "receipt"], outcomes
print("batch answered")

# A stream: one acknowledgement per message, in order.
messages = [
    ingest.StreamEventsRequest(sequence=n, events=[event(data_used=processing_pb2.DataUsed(
        purpose="service_provision", basis=enums_pb2.LEGAL_BASIS_CONTRACT)) for _ in range(20)])
    for n in range(50)
]
last = 0
for n, answer in enumerate(ingestion.StreamEvents(iter(messages))):
    assert answer.sequence == n and len(answer.outcomes) == 20, answer
    for outcome in answer.outcomes:
        assert outcome.WhichOneof("result") == "receipt", outcome
        last = max(last, outcome.receipt.position)
assert n == 49
print("streamed", 50 * 20, "events")

# The officer asks: at least as new as the last receipt.
report = officer.GetSubjectReport(subjects.GetSubjectReportRequest(
    subject=subjects.SubjectName(identifier=ACCOUNT), at_least=last)).report
assert {held.category.id for held in report.categories} == {"pd:Username", "pd:EmailAddress"}, report.categories
uses = {use.purpose.id: use.used.count for use in report.purposes}
assert uses["service_provision"] == 1000, uses
assert all(held.category.label_zh and held.category.label_en for held in report.categories)
assert report.event_count == 1003, report.event_count
print("report counts", report.event_count, "events")

# A telephone number alone answers candidates, never a report.
try:
    officer.GetSubjectReport(subjects.GetSubjectReportRequest(subject=subjects.SubjectName(identifier=PHONE)))
    sys.exit("a report was given for a telephone number")
except grpc.RpcError as refused:
    assert refused.code() == grpc.StatusCode.FAILED_PRECONDITION, refused
found = officer.FindSubject(subjects.FindSubjectRequest(identifier=PHONE)).candidates
assert [candidate.subject for candidate in found] == [report.subject], found

events = officer.ListSubjectEvents(subjects.ListSubjectEventsRequest(
    subject=subjects.SubjectName(subject=report.subject), page_size=600))
rest = officer.ListSubjectEvents(subjects.ListSubjectEventsRequest(
    subject=subjects.SubjectName(subject=report.subject), page_size=600, page_token=events.next_page_token))
positions = [e.position for e in list(events.events) + list(rest.events)]
assert len(positions) == len(set(positions)) == 1003 and not rest.next_page_token, len(positions)
print("listed", len(positions), "events")
