"""Bad input, first half of the table: files and data."""

import bad_input as bad
import numpy as np
from bad_input import Case, both, file, mnist, space, trial

CASES = {
    "condition on a key that is not searched": Case(
        "sweep bad.yaml",
        "when.method/name: is not searched; method/beta is the only key that is",
        bad.space("log: true}", "log: true, when: {method/name: [hnet]}}"),
    ),
    # --- the file itself
    "no file": Case("sweep bad.yaml", "bad.yaml: cannot be read: No such file"),
    "folder for a file": Case("sweep .", ".: cannot be read: "),
    "link to itself": Case("sweep bad.yaml", "bad.yaml: cannot be read: ", bad.link_to_itself),
    "pipe for a file": Case("sweep bad.yaml", "bad.yaml: cannot be read: it is no", bad.pipe),
    "endless device": Case("sweep /dev/zero", "/dev/zero: cannot be read: it is no"),
    "empty": Case(
        "sweep bad.yaml", "bad.yaml: the file must hold a mapping but holds None", file("")
    ),
    "not UTF-8": Case(
        "sweep bad.yaml", "bad.yaml: cannot be read: it is not UTF-8", file(b"\xff")
    ),
    "control characters": Case("sweep bad.yaml", "bad.yaml: ", file("a: \0")),
    "huge file": Case("sweep bad.yaml", "bad.yaml: cannot be read: ", file("#" * 2_000_000)),
    "picture": Case("run bad.yaml", "bad.yaml: ", file(b"\x89PNG\r\n\x1a\n\0\0")),
    "not YAML": Case(
        "sweep bad.yaml",
        "line 1, column 9: not valid YAML: while parsing a flow sequence",
        file("a: [1, 2"),
    ),
    "tab": Case("sweep bad.yaml", "line 2, column 1: not valid YAML", file("a:\n\tb: 1")),
    "a list": Case("sweep bad.yaml", "must hold a mapping but holds [1, 2]", file("[1, 2]")),
    "a long text": Case("sweep bad.yaml", "must hold a mapping but holds 'xxx", file("x" * 5000)),
    "two documents": Case("sweep bad.yaml", "expected a single document", file("a: 1\n---\nb: 2")),
    "key twice": Case(
        "sweep bad.yaml", "sweep: given twice (lines 1 and 2)", file("sweep: 1\nsweep: 2")
    ),
    "list as key": Case("sweep bad.yaml", "line 1", file("? [a, b]\n: 1")),
    "number as key": Case(
        "sweep bad.yaml",
        "keys must be strings",
        space("{iterations", "{3: 4, iterations"),
        lines=2,
    ),
    "Python object": Case(
        "sweep bad.yaml",
        "python/object",
        file('a: !!python/object/apply:os.system ["touch pwned"]'),
    ),
    "wrong int tag": Case("sweep bad.yaml", "bad.yaml: ", file("a: !!int x")),
    "wrong date tag": Case("sweep bad.yaml", "bad.yaml: ", file("a: !!timestamp x")),
    "unknown anchor": Case("sweep bad.yaml", "undefined alias", file("a: *b")),
    "billion laughs": Case("sweep bad.yaml", "bad.yaml: ", file(bad.LAUGHS)),
    "list in itself": Case("sweep bad.yaml", "bad.yaml: ", file("trial: &a [*a]")),
    "mapping in itself": Case("run bad.yaml", "bad.yaml: ", file("method: &a {x: *a}")),
    "deep brackets": Case("sweep bad.yaml", "bad.yaml: ", file("a: " + "[" * 5000)),
    "deep JSON": Case("run bad.json", "bad.json: ", file("[" * 100_000, "bad.json")),
    "number of 5000 digits": Case("sweep bad.yaml", "bad.yaml: ", file(f"a: {'9' * 5000}")),
    # --- the search space
    "unknown section": Case(
        "sweep bad.yaml",
        "serach: unknown key; did you mean search?",
        space("search:", "serach:"),
        lines=2,
    ),
    "unknown setting": Case(
        "sweep bad.yaml",
        "trial.train/iteration: unknown key; did you mean iterations?",
        space("iterations", "iteration"),
    ),
    "several mistakes": Case(
        "validate bad.yaml",
        "sweep.num_trials: must be >= 1 but got 0",
        space("num_trials: 2", "num_trials: 0, mode: up"),
        lines=4,
    ),
    "text for a number": Case(
        "sweep bad.yaml",
        "trial.train/batch_size: must be a whole number but got 'eight'",
        space("batch_size: 8", "batch_size: eight"),
    ),
    "number for text": Case(
        "sweep bad.yaml", "method/name: unknown method 3", space("name: hnet", "name: 3")
    ),
    "unknown method": Case(
        "sweep bad.yaml",
        "unknown method 'hnte'; did you mean hnet?",
        space("name: hnet", "name: hnte"),
    ),
    "range upside down": Case(
        "sweep bad.yaml",
        "search.method/beta.low: 2.0 is above high 1.0; swap them",
        space("low: 0.001", "low: 2.0"),
    ),
    "log of zero": Case(
        "sweep bad.yaml",
        "search.method/beta.low: must be > 0 because log is true",
        space("low: 0.001", "low: 0"),
    ),
    "NaN in a range": Case(
        "sweep bad.yaml",
        "search.method/beta.low: must be finite but got nan",
        space("low: 0.001", "low: .nan"),
    ),
    "infinite range": Case(
        "sweep bad.yaml",
        "search.method/beta.high: must be finite but got inf",
        space("high: 1.0", "high: .inf"),
    ),
    "number of 400 digits": Case(
        "sweep bad.yaml",
        "sweep.num_trials: must be at most 9223372036854775807 (2^63 - 1) but got 99999",
        space("num_trials: 2", f"num_trials: {'9' * 400}"),
    ),
    "no range": Case(
        "sweep bad.yaml",
        "search.method/beta: must be a mapping",
        space("{type: float, low: 0.001, high: 1.0, log: true}", "0.1"),
    ),
    "unknown type of range": Case(
        "sweep bad.yaml",
        "search.method/beta.type: must be float, int or choice but got 'real'",
        space("type: float", "type: real"),
    ),
    "search of a fixed key": Case(
        "sweep bad.yaml",
        "search.train/iterations: is also fixed under trial",
        space("  method/beta", "  train/iterations"),
        lines=3,
    ),
    "search of the method": Case(
        "sweep bad.yaml",
        "search.method/name: decides what is measured",
        space(
            "  method/beta: {type: float, low: 0.001, high: 1.0, log: true}",
            "  method/name: {type: choice, values: [si, ewc]}",
        ),
        lines=2,
    ),
    "nothing to search": Case(
        "sweep bad.yaml", "search: must name at least one key", file(bad.SPACE.split("search:")[0])
    ),
    "point out of range": Case(
        "sweep bad.yaml",
        "points_to_evaluate[0].method/beta: 7 is outside the range",
        file(bad.SPACE + "points_to_evaluate: [{method/beta: 7}]"),
    ),
    "method and scenario": Case(
        "run bad.yaml",
        "scenario: from_scratch cannot be trained in the class scenario",
        trial("method: {name: finetune}", "method: {name: from_scratch}\nscenario: class"),
    ),
    "selection on test data": Case(
        "sweep bad.yaml",
        "would select on test data; use val/task/average_accuracy",
        space("num_trials: 2", "objective: test/task/average_accuracy"),
    ),
    "no validation data": Case(
        "sweep bad.yaml",
        "needs validation data; set trial.benchmark/val_fraction",
        space(", val_fraction: 0.2", ""),
    ),
    "unmeasured objective": Case(
        "sweep bad.yaml",
        "sweep.objective: 'loss' is not val/SCENARIO/METRIC",
        space("num_trials: 2", "objective: loss"),
    ),
    "too many tasks": Case(
        "sweep bad.yaml",
        "benchmark/num_tasks: split_digits has 10 classes but 6 tasks",
        space("num_tasks: 2", "num_tasks: 6"),
    ),
    "empty validation part": Case(
        "sweep bad.yaml",
        "benchmark/val_fraction: 1e-05 of the",
        space("val_fraction: 0.2", "val_fraction: 1.0e-5"),
    ),
    "compression of nothing": Case(
        "sweep bad.yaml", "finetune has no hypernetwork to compress with", bad.no_hypernet
    ),
    "cmaes of one number": Case(
        "sweep bad.yaml",
        "cmaes searches two or more numbers but the file has 1",
        space("num_trials: 2", "sampler: cmaes"),
    ),
    "grid without steps": Case(
        "sweep bad.yaml",
        "search.method/beta: has no step, so sampler grid cannot list it",
        space("num_trials: 2", "sampler: grid"),
    ),
    "stop before it begins": Case(
        "sweep bad.yaml",
        "sweep.grace_tasks: must be less than the 2 tasks",
        space("num_trials: 2", "early_stopping: asha"),
    ),
    # --- data
    "unknown data": Case("data prepare cifar", "there is no benchmark 'cifar'"),
    "no benchmark": Case("data check", "BENCHMARK"),
    "prepare without a source": Case(
        "data prepare split_mnist --data-root data", "MNIST is missing"
    ),
    "prepare into a file": Case("data prepare split_mnist --data-root space.yaml", "space.yaml"),
    "prepare into /proc": Case("data prepare split_mnist --data-root /proc/x", "/proc/x"),
    "check what is not there": Case(
        "data check split_mnist --data-root data",
        "mnist.npz is missing; make it with: hcl data prepare",
    ),
    "data changed": Case(
        "data check split_mnist --data-root data",
        "was changed since it was prepared",
        bad.changed_npz,
    ),
    "torn npz": Case(
        "data check split_mnist --data-root data", "delete it and prepare it again", bad.torn_npz
    ),
    "text for an npz": Case(
        "data check split_mnist --data-root data",
        "mnist.npz cannot be read",
        file("text", "data/mnist.npz"),
    ),
    "npz bomb": Case(
        "data check split_mnist --data-root data", "mnist.npz cannot be read", bad.npz_bomb
    ),
    "pickled objects": Case(
        "data check split_mnist --data-root data",
        "cannot be read as an .npz of plain arrays",
        mnist(y_test=np.array([None] * 20)),
    ),
    "npz without an array": Case(
        "data check split_mnist --data-root data", "has no x_test", mnist(x_test=None)
    ),
    "npz of floats": Case(
        "data check split_mnist --data-root data",
        "x_train must be uint8",
        mnist(x_train=np.zeros((40, 28, 28))),
    ),
    "npz of other labels": Case(
        "data check split_mnist --data-root data",
        "y_test must lie in 0..9 but holds 10..10",
        mnist(y_test=np.full(20, 10)),
    ),
    "wrong MNIST file": Case(
        "data prepare split_mnist --data-root data",
        "is not the official MNIST file",
        bad.official(b"\0" * 99),
    ),
    "empty packed MNIST": Case(
        "data prepare split_mnist --data-root data",
        "is not the official MNIST file",
        bad.official(b"", ".gz"),
    ),
    # --- weights that networks start from
    "no weights": Case(
        "sweep bad.yaml --data-root data",
        "target/weights: there is no file",
        space("[8]}", "[8], weights: w.pt}"),
    ),
    "one of two weights": Case(
        "sweep bad.yaml --data-root .",
        "none.pt; put it there",
        both(
            bad.saved_weights,
            space("search:", "search:\n  target/weights: {type: choice, values: [w.pt, none.pt]}"),
        ),
    ),
    "empty weights": Case(
        "run bad.yaml --data-root .",
        "w.pt cannot be read (",
        both(trial("[8]}", "[8], weights: w.pt}"), file("", "w.pt")),
    ),
    "pickled weights": Case(
        "run bad.yaml --data-root .",
        "w.pt cannot be read (",
        both(trial("[8]}", "[8], weights: w.pt}"), bad.pickled_weights),
    ),
    "weights without their library": Case(
        "run bad.yaml --data-root .",
        "w.safetensors ",  # needs the library, or cannot be read
        both(trial("[8]}", "[8], weights: w.safetensors}"), file("x", "w.safetensors")),
    ),
    "weights of another network": Case(
        "sweep bad.yaml --data-root .",
        "target/weights: the file lacks 0.weight (9, 64), 0.bias (9,) or has it in another shape",
        both(bad.saved_weights, space("[8]}", "[9], weights: w.pt}")),
    ),
    "run, weights of another network": Case(
        "run bad.yaml --data-root .",
        "target/weights: the file lacks 0.weight (9, 64), 0.bias (9,) or has it in another shape",
        both(bad.saved_weights, trial("[8]}", "[9], weights: w.pt}")),
    ),
    "table without its weights": Case(
        "reproduce bad.yaml --data-root data", "target/weights: there is no file", bad.table
    ),
    "table on no such CPU": Case(
        "reproduce bad.yaml --cpus-per-trial 5000", "a trial needs 5000 CPUs", bad.table
    ),
    "validate without weights": Case(
        "validate bad.yaml --data-root data",
        "target/weights: there is no file",
        trial("[8]}", "[8], weights: w.pt}"),
        lines=3,
    ),
    # --- folders
    "storage in /proc": Case("sweep space.yaml --storage /proc/x", "--storage /proc/x: "),
    "storage is a file": Case("sweep space.yaml --storage trial.yaml", "trial.yaml"),
    "run, storage is a file": Case("run trial.yaml --storage space.yaml", "space.yaml"),
    "no MNIST": Case(
        "sweep bad.yaml --data-root data",
        "MNIST is missing: no mnist.npz",
        space("split_digits", "split_mnist"),
    ),
    "run without MNIST": Case(
        "run bad.yaml", "MNIST is missing: no mnist.npz", trial("split_digits", "split_mnist")
    ),
    "data root is a file": Case(
        "sweep bad.yaml --data-root space.yaml", "space.yaml", space("split_digits", "split_mnist")
    ),
    # --- validate
    "validate nothing": Case("validate bad.yaml", "  cannot be read: No such file", lines=3),
    "validate an empty folder": Case(
        "validate empty", "there is no .yaml file in empty", bad.empty_folder
    ),
    "validate laughs": Case(
        "validate bad.yaml", "not valid: 1 of 1 files", file(bad.LAUGHS), lines=3
    ),
}
