"""Makes registers.ndjson of an unpacked bundle from its events, as src/verify/FORMAT.md says."""
import json, re, sys

IDS = {
    "ControllerRegistered": ["controller"],
    "ServiceRegistered": ["service"],
    "ServiceTerminationNotified": ["service"],
    "ServiceTerminated": ["service"],
    "ActivityRegistered": ["activity"],
    "ActivityEnded": ["activity"],
    "RecipientRegistered": ["recipient_id"],
    "RecipientEnded": ["recipient_id"],
    "TransferMechanismRegistered": ["mechanism_id"],
    "TransferMechanismSuspended": ["mechanism_id"],
    "TransferMechanismEnded": ["mechanism_id"],
    "TransferAssessed": ["kind", "subject_matter"],
    "AssessmentRecorded": ["kind", "subject_matter"],
    "PolicyPublished": ["policy_id"],
    "LawDataActivated": ["name"],
    "MappingAdded": ["kind", "term", "emitter"],
    "RetentionRulePublished": ["rule.id"],
    "RetentionRuleAnnulled": ["rule", "version"],
}
# Without an id they are about one person, and no entry.
NAMED = {
    "LegalHoldPlaced": ["hold_id"],
    "LegalHoldReleased": ["hold_id"],
    "BreachDetected": ["breach_id"],
    "BreachAssessed": ["breach_id"],
    "BreachNotified": ["breach_id"],
    "BreachClosed": ["breach_id"],
}


def value(body, path):
    for field in path.split("."):
        body = body.get(field) if isinstance(body, dict) else None
    return body


def name_of(kind, body):
    values = (value(body, path) for path in (IDS | NAMED)[kind])
    return " ".join(value for value in values if value is not None)


bundle = sys.argv[1]
manifest = open(bundle + "/manifest", encoding="utf-8").read()
first = int(re.search(r"^range (\d+) ", manifest, re.M)[1])
end, entries = "", {}
for position, line in enumerate(open(bundle + "/events.ndjson"), first):
    header = json.loads(line)
    body = header["b"]
    end = max(end, header["recorded_at"])
    kind = header["type"]
    if kind in IDS or kind in NAMED and name_of(kind, body):
        counts = header["occurred_at"]
        if header.get("time_source") == "device":
            counts = min(counts, header["recorded_at"])
        if isinstance(body.get("effective_at"), str):
            counts = body["effective_at"]
        entries.setdefault((kind, name_of(kind, body)), []).append((counts, position, body))
for (register, name), versions in sorted(entries.items()):
    versions.sort(key=lambda version: version[:2])
    for version, successor in zip(versions, versions[1:] + [None]):
        if successor is None or successor[0] > end:
            of = dict(zip(("from", "position"), version), versions=len(versions), b=version[2])
            print(json.dumps({"register": register, "id": name} | of, separators=(",", ":")))
