# Help, version, mistyped words and the options that every command shares.
load weft

setup_file() { make_model; }
setup() { in_folder; }

@test "weft --help groups the commands; weft alone says the same" {
  ok 1 --help
  for group in train use 'look inside'; do grep -q "^$group:" out; done
  for command in train data tokenizer generate chat score convert tokenize info; do
    grep -Eq "^  $command +[a-z]" out
  done
  [ ! -s err ]
  cp out help
  ok 1
  cmp out help
}

@test "weft --version names what is inside, as text and as JSON" {
  ok 1 --version --json
  json out 'list(lines[0])[:2] == ["version", "commit"]' \
    '{"mpi", "hdf5", "matmul", "cuda", "nccl"} < set(lines[0])' 'lines[0]["cuda"] == "not built in"'
  ok 1 --version
  grep -Eq '^weft [0-9]+\.[0-9]+\.[0-9]+' out
  grep -q 'hdf5 ' out
}

@test "every command's --help shows groups and defaults, and runs nothing" {
  for command in train data tokenizer tokenize generate chat score convert info; do
    ok 1 "$command" --help
    grep -q "Usage: weft $command" out
    grep -q -- '--config FILE' out
    [ ! -s err ]
  done
  ok 1 train --help
  for group in model data optimizer output parallel; do grep -q "^$group:" out; done
  for default in 'family TEXT=gpt2' 'layers N=12' 'width N=768' 'batch-size N=8' 'lr N=0.0003' \
    'lr-schedule TEXT=cosine' 'beta2 N=0.95' 'keep N=3' 'resume TEXT=auto' \
    'tp N=1' 'dtype TEXT=fp32' 'pipeline-schedule TEXT=1f1b' 'seed N=0'; do
    grep -q -- "--$default" out
  done
  ok 1 generate --help
  for group in model parallel 'input and output' generation; do grep -q "^$group:" out; done
  grep -q -- '--max-new-tokens N .*20' out
  only
}

@test "help and version are printed once on three ranks" {
  ok 3 --version
  [ "$(grep -c '^weft ' out)" = 1 ]
  ok 3 score --help
  [ "$(grep -c '^Usage' out)" = 1 ]
}

@test "mistyped commands, options and values get a suggestion or what is allowed" {
  refused 1 "'generte'.*did you mean 'generate'" generte
  refused 1 "'tokenise'.*did you mean 'tokenize'" tokenise
  refused 1 "no command 'xyzzy'; see weft --help" xyzzy
  refused 1 "no option '--tmperature' \(did you mean '--temperature'" \
    generate --model "$S/run/model" --prompt a --tmperature 1
  refused 1 "no option '--lyers' \(did you mean '--layers'" train --lyers 3
  refused 1 "'more' was not expected" score --model "$S/run/model" --text a more
  refused 1 '--layers needs a value' train --layers
  refused 1 "--layers is '3.5'; it must be a whole number" train --layers 3.5
  refused 1 "--json is 'maybe'|--json" tokenize --tokenizer "$S/tok" --text a --json=maybe
  refused 1 "allowed: cpu, cuda" generate --model "$S/run/model" --prompt a --device gpu
  refused 1 'built without CUDA.*allowed here: cpu' \
    generate --model "$S/run/model" --prompt a --device cuda
  refused 1 '--threads is 4294967297; allowed: 0 .* to 4096' \
    generate --model "$S/run/model" --prompt a --threads 4294967297
}

@test "a mistake is said once whatever the number of ranks" {
  refused 3 "did you mean 'generate'" generte
  refused 3 "did you mean '--layers'" train --lyers 3
  refused 3 'nowhere: no such file' generate --model nowhere --prompt a
}

@test "NaN and infinity are no numbers, in flags and in files" {
  for value in nan inf -inf 1e999; do
    refused 1 "--lr is '$value'; it must be a finite number" train --lr "$value"
  done
  refused 1 '--temperature' generate --model "$S/run/model" --prompt a --temperature nan
  for value in nan inf +inf; do
    echo "lr = $value" >bad.toml
    refused 1 'bad.toml: lr is .*; it must be a finite number' train --config bad.toml
  done
}

@test "--config: any option, tables only group, flags win" {
  cat >score.toml <<TOML
model = "$S/run/model"
json = true
[anything]
text = ["one", "two"]
TOML
  ok 1 score --config score.toml
  json out 'len(lines) == 2'
  ok 1 score --config score.toml --text three
  json out '[line["id"] for line in lines] == ["0"]'
  ok 1 score --json=false --config=score.toml
  grep -q 'perplexity' out
  ! grep -q '{' out
}

@test "--config: errors name file, line and the nearest key" {
  printf '[optimizer]\nlearning = 1\nwieght_decay = 0.1\n' >bad.toml
  refused 1 "bad.toml: line [23]: unknown key" train --config bad.toml
  printf '[optimizer]\n\nwieght_decay = 0.1\n' >bad.toml
  refused 3 "bad.toml: line 3: unknown key 'wieght_decay' \(did you mean 'weight_decay'" \
    train --config bad.toml
  printf 'lr = 1\n[optimizer]\nlr = 2\n' >bad.toml
  refused 1 "key 'lr' is given twice" train --config bad.toml
  printf 'lr = \n' >bad.toml
  refused 1 'bad.toml: line 1: ' train --config bad.toml
  printf 'lr = "fast"\n' >bad.toml
  refused 1 "bad.toml: lr is 'fast', a text; it must be a number" train --config bad.toml
  printf 'family = 3\n' >bad.toml
  refused 1 'bad.toml: family is 3; it must be a text' train --config bad.toml
  printf 'layers = [[1]]\n' >bad.toml
  refused 1 'bad.toml: layers is neither a text, a number' train --config bad.toml
  refused 1 'nowhere.toml: no such file' train --config nowhere.toml
  refused 1 'is a folder' train --config .
  refused 1 '--config needs a file' train --config
}
