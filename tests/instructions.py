"""A service that does what custody tells it, with nothing but grpcio, sqlite and the files in proto/.

usage: instructions.py STUBS ADDRESS STORE ADDRESSEE [BATCH]     (STUBS: where grpc_tools.protoc put the modules)

STORE is the service's own database: the data it holds, and what it did with instructions. It may be killed at any
instant and started again; three rules make that safe, and are all that a service has to do:

1. What was taken is written down before anything else, under its id. A repetition is recognised by that id.
2. Right before acting it asks Begin. Only what is answered *go* is done.
3. The erasure and the note that it was done are one transaction. Acknowledged is what is noted, as often as it takes
   until custody has answered: an acknowledgement that custody knows already is a duplicate, not a second erasure.

Every step prints a line. Ends with 0 when nothing is open any more.
"""
import sqlite3, sys, time

sys.path.insert(0, sys.argv[1])
import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from custody.v1 import enums_pb2 as enums
from custody.v1 import instruction_service_pb2 as api, instruction_service_pb2_grpc as api_grpc

ADDRESS, STORE, ADDRESSEE = sys.argv[2:5]
BATCH = int(sys.argv[5]) if len(sys.argv) > 5 else 10
# Short, because whoever took something and died has it in hand until then.
LEASE = Duration(seconds=1)

# What can be seen of an instruction in the store: taken ▸ void, or taken ▸ erased ▸ answered.
SCHEMA = """
CREATE TABLE IF NOT EXISTS held (account TEXT NOT NULL, category TEXT NOT NULL, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS inbox (
    id TEXT PRIMARY KEY, account TEXT NOT NULL, category TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('taken', 'void', 'erased', 'answered')),
    executed_at INTEGER,
    told INTEGER NOT NULL DEFAULT 1);
-- One row for every time that something was erased: the same instruction never has two.
CREATE TABLE IF NOT EXISTS erasures (id TEXT NOT NULL, rows INTEGER NOT NULL);
"""


def say(*words):
    # A whole line at once, so that whoever reads it reads all of it.
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


store = sqlite3.connect(STORE, isolation_level=None)
store.execute("PRAGMA journal_mode = WAL")
store.execute("PRAGMA synchronous = FULL")
store.executescript(SCHEMA)
channel = grpc.insecure_channel(ADDRESS)
instructions = api_grpc.InstructionServiceStub(channel)


class transaction:
    """All of it is durable, or none."""

    def __enter__(self):
        store.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind, *_):
        store.execute("COMMIT" if kind is None else "ROLLBACK")


def account(instruction):
    """The account that the service knows the person by."""
    ours = [one.value for one in instruction.identifiers if one.realm == ADDRESSEE]
    assert ours, instruction
    return ours[0]


def take():
    """Takes what is open, and writes it down. Says how many there were."""
    taken = instructions.TakeInstructions(api.TakeInstructionsRequest(
        addressee=ADDRESSEE, max_instructions=BATCH, lease=LEASE)).instructions
    with transaction():
        for one in taken:
            assert one.kind == enums.INSTRUCTION_KIND_ERASE, one
            known = store.execute("UPDATE inbox SET told = told + 1 WHERE id = ?", (one.instruction_id,))
            if known.rowcount:
                continue
            store.execute("INSERT INTO inbox (id, account, category, state) VALUES (?, ?, ?, 'taken')",
                          (one.instruction_id, account(one), one.category))
    say("took", len(taken))
    return len(taken)


def in_state(state):
    return store.execute(
        "SELECT id, account, category, executed_at FROM inbox WHERE state = ? ORDER BY id LIMIT ?",
        (state, BATCH)).fetchall()


def begin():
    """Asks whether what was taken is still to be done, and does it."""
    taken = in_state("taken")
    if not taken:
        return 0
    asked = api.BeginInstructionRequest(addressee=ADDRESSEE, instruction_ids=[row[0] for row in taken])
    results = instructions.BeginInstruction(asked).results
    assert [one.instruction_id for one in results] == [row[0] for row in taken], results
    say("asked", len(taken))
    for (name, whose, category, _), result in zip(taken, results):
        if result.WhichOneof("result") == "answer" and result.answer == enums.INSTRUCTION_ANSWER_GO:
            erase(name, whose, category)
        else:
            # Revoked, or ended in another way: there is nothing to do any more.
            store.execute("UPDATE inbox SET state = 'void' WHERE id = ?", (name,))
            say("void", name)
    return len(taken)


def erase(name, whose, category):
    with transaction():
        gone = store.execute("DELETE FROM held WHERE account = ? AND category = ?", (whose, category)).rowcount
        store.execute("INSERT INTO erasures (id, rows) VALUES (?, ?)", (name, gone))
        store.execute("UPDATE inbox SET state = 'erased', executed_at = ? WHERE id = ? AND state = 'taken'",
                      (int(time.time() * 1000), name))
    say("erased", name)


def acknowledge():
    """Says what was done, until custody has heard it."""
    erased = in_state("erased")
    if not erased:
        return 0
    answers = [
        api.InstructionAcknowledgement(
            instruction_id=name, outcome=enums.INSTRUCTION_OUTCOME_DONE, method=enums.ERASURE_METHOD_DELETE,
            stores=["accounts"], verification=enums.VERIFICATION_READBACK,
            executed_at=Timestamp(seconds=at // 1000, nanos=at % 1000 * 1_000_000))
        for name, _, _, at in erased]
    results = instructions.AcknowledgeInstruction(api.AcknowledgeInstructionRequest(
        addressee=ADDRESSEE, acknowledgements=answers)).results
    again = 0
    with transaction():
        for (name, _, _, _), result in zip(erased, results):
            assert result.instruction_id == name and result.WhichOneof("result") == "acknowledged", result
            again += result.duplicate
            store.execute("UPDATE inbox SET state = 'answered' WHERE id = ?", (name,))
    say("answered", len(erased), "of which custody knew", again)
    return len(erased)


def open_elsewhere():
    """Whether custody has something open that is in somebody's hands, such as those of this client before it died."""
    return bool(instructions.ListInstructions(api.ListInstructionsRequest(
        addressee=ADDRESSEE, page_size=1)).instructions)


# Whatever is open, once: of what an earlier life wrote down and did not begin, some is told again.
take()
while True:
    # First what is begun: custody keeps it in our hands, and does not hand it out again for a while.
    if acknowledge() or begin() or take():
        continue
    if not open_elsewhere():
        break
    # A lease of another life runs out.
    time.sleep(0.1)
say("nothing is open")
