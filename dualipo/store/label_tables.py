"""The tables of the label book, and its longer queries.

`labels.counter` gives the order of answers. A label that was undone stays with a mark; the partial
index holds one standing answer a task and dimension, whatever two tabs send.
"""

BOOK = "labels.sqlite"  # its name in a run directory

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE tokens (token_sha256 TEXT PRIMARY KEY, annotator TEXT NOT NULL) STRICT;
CREATE TABLE items (
    item_id TEXT PRIMARY KEY, kind TEXT NOT NULL CHECK (kind IN ('pair', 'point')),
    prompt_id TEXT NOT NULL, caption TEXT NOT NULL, clip_a TEXT NOT NULL, clip_b TEXT NOT NULL,
    origin_a TEXT NOT NULL, origin_b TEXT NOT NULL, round INTEGER NOT NULL,
    priority REAL NOT NULL, num_wanted INTEGER NOT NULL, gold TEXT NOT NULL) STRICT;
CREATE TABLE tasks (
    task_id TEXT PRIMARY KEY, annotator TEXT NOT NULL, position INTEGER NOT NULL,
    item_id TEXT NOT NULL REFERENCES items (item_id), is_swapped INTEGER NOT NULL,
    is_repeat INTEGER NOT NULL, is_done INTEGER NOT NULL,
    UNIQUE (annotator, position)) STRICT;
CREATE INDEX tasks_of_item ON tasks (item_id);
CREATE TABLE labels (
    counter INTEGER PRIMARY KEY AUTOINCREMENT, annotator TEXT NOT NULL, key TEXT NOT NULL,
    task_id TEXT NOT NULL REFERENCES tasks (task_id), dimension TEXT NOT NULL,
    outcome TEXT NOT NULL, reason TEXT NOT NULL, seconds REAL NOT NULL,
    is_undone INTEGER NOT NULL DEFAULT 0, UNIQUE (annotator, key)) STRICT;
CREATE UNIQUE INDEX one_answer ON labels (task_id, dimension) WHERE is_undone = 0;
CREATE TABLE undos (
    annotator TEXT NOT NULL, key TEXT NOT NULL, counter INTEGER NOT NULL,
    PRIMARY KEY (annotator, key)) STRICT;
"""

# Items for one annotator (?1). Repeats measure the annotator, so they count for nobody's quota.
QUEUE = """
SELECT i.item_id, i.priority, i.num_wanted, i.gold != '',
    COUNT(t.task_id) FILTER (WHERE NOT t.is_repeat),
    COUNT(t.task_id) FILTER (WHERE NOT t.is_repeat AND t.is_done),
    GROUP_CONCAT(t.position) FILTER (WHERE t.annotator = ?1),
    MAX(t.is_swapped) FILTER (WHERE t.annotator = ?1)
FROM items i LEFT JOIN tasks t USING (item_id) GROUP BY i.item_id ORDER BY i.item_id
"""

TASKS = """
SELECT t.task_id, t.position, i.kind, i.caption, i.clip_a, i.clip_b, t.is_swapped
FROM tasks t JOIN items i USING (item_id)
"""

WORDS = """
SELECT reason FROM labels WHERE annotator = ? AND dimension = ? AND is_undone = 0 AND reason != ''
GROUP BY reason ORDER BY MAX(counter) DESC LIMIT ?
"""

# Every standing answer with its item; the order is that of the answers.
ANSWERS = """
SELECT l.counter, l.annotator, l.task_id, l.dimension, l.outcome, l.reason, l.seconds,
    t.is_swapped, t.is_repeat, i.item_id, i.kind, i.prompt_id, i.caption, i.clip_a, i.clip_b,
    i.origin_a, i.origin_b, i.round, i.gold
FROM labels l JOIN tasks t USING (task_id) JOIN items i USING (item_id)
WHERE l.is_undone = 0 ORDER BY l.counter
"""
