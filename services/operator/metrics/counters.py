"""What the operators count of the whole fleet.

Each event of the feed is counted by one of them, so their numbers are to be added up; also what a runner did that was
gone before anybody asked it. What the fleet is at a moment they all say alike.
"""

from prometheus_client import Counter, Gauge, Histogram

PHASES = Histogram(
    "pipefleet_launch_phase_seconds",
    "The way to a bot in its room: accept_to_claim, claim_to_process (which has the launch then), process_to_room. "
    "With webrtc the last one has the wait for the client in it. Of each attempt whose bot came into its room.",
    ["phase", "start", "transport"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0),
)
ATTEMPTS = Counter("pipefleet_attempts", "Bots that were begun, by warm and cold runners.", ["start"])
ATTEMPTS_FAILED = Counter(
    "pipefleet_attempts_failed", "Bots in whose place another one is begun, by why.", ["agent", "reason"]
)
SESSIONS_OVER = Counter(
    "pipefleet_sessions_over", "Sessions that ended or failed, by why.", ["agent", "status", "reason"]
)
COMMANDS = Counter("pipefleet_commands", "Commands by what became of them, without signalling.", ["kind", "outcome"])

COLD_STARTS = Counter(
    "pipefleet_cold_starts",
    "Cold runners: created; refused, it could not be; failed, it did not come up, or died before it took a launch.",
    ["launcher", "outcome"],
)

QUEUE_DEPTH = Gauge("pipefleet_queue_depth", "Launches that no runner has.", ["agent"])
QUEUE_AGE = Gauge(
    "pipefleet_queue_oldest_age_seconds", "How long the oldest of them has been waiting; 0 if none is.", ["agent"]
)
SLOTS = Gauge(
    "pipefleet_slots", "Slots of all runners: busy; free, warm and waiting; unready, neither.", ["start", "state"]
)
RUNNERS = Gauge("pipefleet_runners", "Runners that say that they are there, by their state.", ["start", "state"])
BOTS_IN_ROOM = Gauge("pipefleet_bots_in_room", "Bots that are in their rooms.", ["start"])
DEAD_LETTERS = Gauge("pipefleet_dead_letters", "Launches that were given up and that nobody has redriven or deleted.")
