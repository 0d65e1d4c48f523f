"""Bad input, second half of the table: command lines, addresses, remains of earlier starts."""

import bad_input as bad
from bad_input import PASSWORD, Case, both, file, kept, single, space

CASES = {  # options of sweep come first
    "no trials": Case("sweep space.yaml --num-trials 0", "num_trials: must be >= 1 but got 0"),
    "word for a number": Case(
        "sweep space.yaml --num-trials ten",
        "unable to parse string as an integer, but got 'ten'; see hcl sweep --help",
    ),
    "unknown option": Case("sweep space.yaml --trials 3", "--trials"),
    "no search space": Case("sweep", "Missing argument 'file'; see hcl sweep --help"),
    "unknown command": Case("swep space.yaml", "'swep'"),
    "seeds with semicolon": Case(
        "sweep space.yaml --seeds '1;2'", "--seeds '1;2': give whole numbers"
    ),
    "no seeds": Case("sweep space.yaml --seeds ''", "--seeds '': give whole numbers"),
    "negative seed": Case("sweep space.yaml --seeds -1", "seeds: must be >= 0 but got -1"),
    "seed twice": Case(
        "sweep space.yaml --seeds 1,1", "sweep.seeds: must be different numbers but got [1, 1]"
    ),
    "seed beyond 64 bits": Case(
        "sweep space.yaml --seeds 99999999999999999999",
        "sweep.seeds: must be at most 9223372036854775807 (2^63 - 1) but got 99999999999999999999",
    ),
    "name with a slash": Case("sweep space.yaml --name a/b", "--name 'a/b': use letters"),
    "name going up": Case("sweep space.yaml --name ../x", "--name '../x': use letters"),
    "name in Unicode": Case(
        "sweep größe.yaml", "--name 'größe': use letters", file(bad.SPACE, "größe.yaml")
    ),
    "empty name": Case("sweep space.yaml --name ''", "--name '': use letters"),
    "quote in a name": Case('sweep space.yaml --name "a\' or 1"', "use letters"),
    "set without a value": Case(
        "sweep space.yaml --set train/lr", "--set 'train/lr': write KEY=VALUE"
    ),
    "set of an unknown key in a sweep": Case(
        "sweep space.yaml --set train/iteratons=3", "trial.train/iteratons: unknown key; did you"
    ),
    "warm start from nothing": Case(
        "sweep space.yaml --warm-start nothing", "there is no sweep 'nothing' in"
    ),
    "best of nothing": Case("best nothing", "there is no sweep or study 'nothing' with"),
    "study without effort": Case(
        "study split_digits-study --set effort={}", "effort: give trials or core_hours"
    ),
    "study of unknown name": Case("study split_digit-study", "did you mean split_digits-study?"),
    "resume nothing": Case("sweep space.yaml --resume", "there is no sweep 'space' in"),
    "no time": Case(
        "sweep space.yaml --stop-after 8", "--stop-after '8': write a time such as 8h, 90m"
    ),
    "no time at all": Case("study split_digits-study --stop-after 0h", "--stop-after '0h': write"),
    "GPUs in words": Case(
        "sweep space.yaml --gpus-per-trial all", "--gpus-per-trial 'all': give a number"
    ),
    "NaN GPUs": Case(
        "sweep space.yaml --gpus-per-trial nan", "gpus_per_trial: must be finite but got nan"
    ),
    "one and a half GPUs": Case(
        "sweep space.yaml --gpus-per-trial 1.5",
        "gpus_per_trial: must be a whole number or at most 1 but got 1.5",
    ),
    "no such GPU": Case(
        "sweep space.yaml --gpus-per-trial 64",
        "a trial needs 1 CPUs and 64 GPUs but this machine has",
    ),
    "no such CPU": Case(
        "sweep space.yaml --cpus-per-trial 5000",
        "a trial needs 5000 CPUs and 0 GPUs but this machine has",
    ),
    "no such memory": Case(
        "sweep space.yaml --memory-per-trial 1e9", "1e+09 GiB but this machine has"
    ),
    "dry run does not fit": Case(
        "sweep space.yaml --dry-run --cpus-per-trial 5000", "a trial needs 5000 CPUs"
    ),
    # --- storage
    "storage of 5,000 characters": Case(
        f"sweep space.yaml --storage {'x' * 5000}",
        "--storage (a long name): File name too long; name a folder",
    ),
    "storage of 5,000 characters in folders": Case(
        f"report mine --storage {'x/' * 2500}",
        "--storage (a long name): File name too long; name a folder",
    ),
    "storage in a circle": Case(
        "sweep space.yaml --storage loop",
        "loop: Too many levels of symbolic links; name a folder",
        bad.loop,
    ),
    # --- addresses, databases
    "nobody at the address": Case(
        "sweep space.yaml --address 127.0.0.1:1",
        "no Ray cluster answers at --address 127.0.0.1:1 (",
    ),
    "port out of range": Case(
        "sweep space.yaml --address 127.0.0.1:99999",
        "no Ray cluster answers at --address 127.0.0.1:99999",
    ),
    "no cluster here": Case(
        "sweep space.yaml --address auto",
        "at --address auto",  # none, or one that wants a token
    ),
    "address of a browser": Case(
        "sweep space.yaml --address http://127.0.0.1:1",
        "no Ray cluster answers at --address http://127.0.0.1:1",
    ),
    "MLflow is down": Case(
        f"sweep space.yaml --tracking-uri http://me:{PASSWORD}@127.0.0.1:1",
        "http://***@127.0.0.1:1 cannot be used (Connection refused); start it, or check",
    ),
    "run, MLflow is down": Case(
        f"run trial.yaml --tracking-uri http://me:{PASSWORD}@127.0.0.1:1",
        "http://***@127.0.0.1:1 cannot be used (Connection refused)",
    ),
    "unknown tracking scheme": Case("run trial.yaml --tracking-uri gopher://x", "gopher://x"),
    "path as tracking URI": Case("run trial.yaml --tracking-uri ./mlruns", "./mlruns"),
    "password in a wrong URI": Case(
        f"run trial.yaml --tracking-uri http//me:{PASSWORD}@x", "--tracking-uri"
    ),
    "MLflow in memory": Case(
        "run trial.yaml --tracking-uri sqlite://", "sqlite://: names no file, so the runs would be"
    ),
    "MLflow in memory, by name": Case(
        "run trial.yaml --tracking-uri sqlite:///:memory:", "names no file, so the runs would be"
    ),
    "study in memory": Case(
        "sweep space.yaml --study-url sqlite:///:memory:", "it names no file, so the study would"
    ),
    "study in MLflow's file": Case(
        "sweep space.yaml --study-url sqlite:///./storage/../storage/mlflow.db",
        "--study-url and --tracking-uri name the same database, sqlite:///./storage",
    ),
    "one file for study and runs": Case(
        "sweep space.yaml --study-url sqlite:///one.db --tracking-uri sqlite:///link.db",
        "name the same database, sqlite:///one.db; Optuna and MLflow need one each",
        bad.linked_database,
    ),
    "MLflow's runs in the study": Case(
        "sweep space.yaml --tracking-uri sqlite:///other.db",
        "other.db holds Optuna's studies; give MLflow one of its own",
        bad.empty_study,
    ),
    "password with a quote": Case(
        f"""sweep space.yaml --address "ray://me:it's{PASSWORD}@127.0.0.1:1" """.strip(),
        "no Ray cluster answers at --address ray://***@127.0.0.1:1 (",
    ),
    "password in a query": Case(
        f"sweep space.yaml --study-url 'postgresql://127.0.0.1:1/x?user=me&sslpassword={PASSWORD}'",
        "postgresql+psycopg2://127.0.0.1:1/x?user=me&sslpassword=*** cannot be opened (Connection",
    ),
    "password for an option that is none": Case(
        f"sweep space.yaml --studyurl=postgresql://me:{PASSWORD}@x/y", "--studyurl"
    ),
    "MLflow's database is text": Case(
        "run trial.yaml --tracking-uri sqlite:///bad.db",
        "bad.db cannot be used",
        file("text " * 99, "bad.db"),
    ),
    "MLflow's database in /proc": Case(
        "run trial.yaml --tracking-uri sqlite:////proc/x/m.db",
        "sqlite:////proc/x/m.db cannot be used",
    ),
    "MLflow's PostgreSQL is down": Case(
        f"run trial.yaml --tracking-uri postgresql://me:{PASSWORD}@127.0.0.1:1/x",
        "postgresql+psycopg2://***@127.0.0.1:1/x cannot be used (Connection refused); check",
    ),
    "study's PostgreSQL is down": Case(
        f"sweep space.yaml --study-url postgresql://me:{PASSWORD}@127.0.0.1:1/x",
        "postgresql+psycopg2://***@127.0.0.1:1/x cannot be opened (Connection refused); start",
    ),
    "unknown study scheme": Case("sweep space.yaml --study-url gopher://x", "gopher://x"),
    "study URL is none": Case(f"sweep space.yaml --study-url me:{PASSWORD}@x", "--study-url"),
    "study is text": Case(
        "sweep space.yaml --study-url sqlite:///bad.db",
        "bad.db cannot be opened",
        file("text " * 99, "bad.db"),
    ),
    # --- sweeps that are there
    "sweep of another space": Case(
        "sweep bad.yaml --name mine",
        "sweep 'mine' was started with another search, so",
        both(bad.started, space("low: 0.001", "low: 0.01")),
    ),
    "sweep of other seeds": Case(
        "sweep space.yaml --name mine --seeds 1,2",
        "sweep 'mine' was started with another sweep.seeds, so",
        bad.started,
    ),
    "study elsewhere": Case(
        "sweep space.yaml --name mine --study-url sqlite:///other.db",
        "the study of sweep 'mine' is in a file",
        bad.started,
    ),
    "damaged sweep.json": Case(
        "sweep space.yaml --name mine", "sweep.json is damaged", kept("sweep.json", "{bad")
    ),
    "sweep.json is a list": Case(
        "sweep space.yaml --name mine", "sweep.json is damaged", kept("sweep.json", "[]")
    ),
    "damaged study": Case(
        "sweep space.yaml --name mine", "study.db cannot be opened", kept("study.db", "text " * 99)
    ),
    # --- run
    "ship the code to this machine": Case(
        "sweep space.yaml --ship-code",
        "--ship-code: this machine has the code; use it with --address",
    ),
    "no trial": Case("run bad.json", "bad.json: cannot be read: No such file"),
    "not JSON": Case(
        "run bad.json", "bad.json: cannot be read: not valid JSON", file("{", "bad.json")
    ),
    "JSON list": Case(
        "run bad.json", "bad.json: must hold a JSON object but holds list", file("[]", "bad.json")
    ),
    "JSON of latin-1": Case(
        "run bad.json", "bad.json: cannot be read: ", file(b'{"a": "\xe4"}', "bad.json")
    ),
    "NaN in JSON": Case(
        "run bad.json",
        "train/lr: must be finite but got nan",
        file('{"train/lr": NaN}', "bad.json"),
    ),
    "set without value": Case(
        "run trial.yaml --set train/lr", "--set 'train/lr': write KEY=VALUE"
    ),
    "set of nothing": Case("run trial.yaml --set =1", "--set '=1': write KEY=VALUE"),
    "set of a list": Case(
        "run trial.yaml --set 'target/hidden_sizes=['", "--set 'target/hidden_sizes=[': "
    ),
    "set of an object": Case(
        "run trial.yaml --set 'train/lr=!!python/name:os.system'",
        "--set 'train/lr=!!python/name:os.system': ",
    ),
    "set of an unknown key": Case(
        "run trial.yaml --set train/lrr=1", "train/lrr: unknown key; did you mean lr?"
    ),
    "negative learning rate": Case(
        "run trial.yaml --set train/lr=-1", "train/lr: must be > 0 but got -1"
    ),
    "huge layer": Case(
        "run trial.yaml --set target/hidden_sizes=[9999999999999999999]",
        "target/hidden_sizes: must be at most 9223372036854775807 (2^63 - 1) but got",
    ),
    "device of another kind": Case(
        "run trial.yaml --device tpu", "--device 'tpu': use cpu, cuda or cuda:NUMBER"
    ),
    "device that is not there": Case("run trial.yaml --device cuda:99", "cuda:99"),
    "device without a number": Case("run trial.yaml --device cuda:x", "cuda:x"),
    "run's seeds": Case("run trial.yaml --seeds one", "--seeds 'one': give whole numbers"),
    "run's name": Case("run trial.yaml --name ../single", "--name '../single': use letters"),
    "damaged result": Case("run trial.yaml", "result.json is damaged", single('{"accuracy": ')),
    "result without parts": Case("run trial.yaml", "result.json is damaged", single('{"a": 1}')),
    "result of another trial": Case(
        "run trial.yaml", "holds another configuration's result", single(train={"lr": 0.5})
    ),
    # --- confirm
    "confirm nothing": Case("confirm mine", "there is no sweep 'mine' in"),
    "another study": Case(
        "confirm mine --study-url sqlite:///other.db",
        "there is no study 'mine' in sqlite:///other.db; give the --study-url",
        both(bad.started, bad.empty_study),
    ),
    "no such study": Case(
        "confirm mine --study-url sqlite:///none.db",
        "none.db cannot be opened (there is no such file)",
        bad.started,
    ),
    "confirm's name": Case("confirm ../mine", "'../mine': use letters"),
    "confirm before a trial": Case(
        "confirm mine", "no trial of sweep 'mine' has learned all its tasks yet", bad.started
    ),
    "confirm on its seeds": Case(
        "confirm mine --seeds 1,2", "--seeds: the search used 1", bad.started
    ),
    "seeds upside down": Case(
        "confirm mine --seeds 9..1", "--seeds '9..1': give a range from low to high", bad.started
    ),
    "too many seeds": Case("confirm mine --seeds 2..99999", "at most 1000 seeds", bad.started),
    "top of nothing": Case(
        "confirm mine --top 0", "'--top': Input should be greater than or equal to 1, but got '0'"
    ),
    "damaged search space": Case(
        "confirm mine", "search_space.yaml", kept("search_space.yaml", "trial: [")
    ),
    "confirm a damaged study": Case(
        "confirm mine",
        "study.db cannot be opened",
        both(bad.started, kept("study.db", "text " * 99)),
    ),
    "password not kept": Case(
        "confirm mine",
        "give its --study-url, passwords are not kept",
        both(bad.started, kept("sweep.json", '{"study_url": "postgresql://***@h/x"}')),
    ),
    # --- report, sync, ui
    "report nothing": Case("report mine", "--storage"),
    "report's name": Case("report a/b", "'a/b': use letters"),
    "report of a damaged sweep": Case(
        "report mine", "sweep.json is damaged", kept("sweep.json", "{bad")
    ),
    "report, unknown form": Case(
        "report mine --format xml", "--format 'xml': use one of markdown"
    ),
    "report of a text": Case(
        "report mine", "cannot be used", file("text " * 99, "storage/mlflow.db")
    ),
    "sync nothing": Case("sync", "there is no sweep in"),
    "sync an unknown sweep": Case("sync mine", "there is no sweep 'mine' in"),
    "sync a damaged sweep": Case("sync mine", "sweep.json is damaged", kept("sweep.json", "{bad")),
    "sync without password": Case(
        "sync mine",
        "give its --tracking-uri",
        kept("sweep.json", '{"tracking_uri": "http://***@h"}'),
    ),
    "ui of nothing": Case("ui", "no run has been recorded in"),
    "ui of a text": Case("ui", "mlflow.db", file("text " * 99, "storage/mlflow.db")),
    "ui, port 0": Case(
        "ui --port 0", "'--port': Input should be greater than or equal to 1, but got '0'"
    ),
    "ui, port 70000": Case(
        "ui --port 70000", "Input should be less than or equal to 65535, but got '70000'"
    ),
    "ui of gopher": Case("ui --tracking-uri gopher://x", "gopher://x"),
    # --- python -m hcl
    "hcl, no file": Case("python -m hcl --config bad.json", "cannot read bad.json: No such file"),
    "hcl, not JSON": Case(
        "python -m hcl --config bad.json", "bad.json is not JSON", file("{", "bad.json")
    ),
    "hcl, binary": Case(
        "python -m hcl --config bad.json", "bad.json is not JSON", file(b"\xff\xfe", "bad.json")
    ),
    "hcl, deep JSON": Case(
        "python -m hcl --config bad.json", "bad.json", file("[" * 100_000, "bad.json")
    ),
    "hcl, list": Case(
        "python -m hcl --config bad.json",
        "must hold a JSON object but holds []",
        file("[]", "bad.json"),
    ),
    "hcl, unknown key": Case(
        "python -m hcl --set train/lrr=1", "train/lrr: unknown key; did you mean lr?"
    ),
    "hcl, no value": Case("python -m hcl --set train/lr", "--set train/lr: write KEY=VALUE"),
    "hcl, unknown option": Case("python -m hcl --sed x", "--sed"),
    "hcl, device": Case(
        "python -m hcl --set benchmark/name=split_digits --device tpu",
        "unknown device 'tpu'; use cpu",
    ),
    "hcl, threads": Case(
        "python -m hcl --set benchmark/name=split_digits --threads 0",
        "threads: must be >= 1 but got 0",
    ),
    "hcl, checkpoints": Case(
        "python -m hcl --set benchmark/name=split_digits --checkpoint-every -1",
        "--checkpoint-every: must be >= 0 but got -1",
    ),
    "hcl, result folder": Case(
        "python -m hcl --set benchmark/name=split_digits --out no/result.json",
        "--out no/result.json: must be a file in an existing folder",
    ),
    "hcl, checkpoint of another": Case(
        "python -m hcl --set benchmark/name=split_digits --checkpoint-dir old",
        "checkpoints in old are of another trial",
        bad.checkpoint_of_another,
    ),
    "hcl, no MNIST": Case("python -m hcl --set seed=1 --data-root data", "MNIST is missing"),
}
