"""Every launch line of the documentation is one that accelerate takes."""

import pytest
from accelerate.commands.launch import launch_command_parser
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.launch import prepare_multi_gpu_env
from test_commands import COMMANDS

LINES = [command.words for command in COMMANDS if command.words[:2] == ["accelerate", "launch"]]


def parse(words):
    return launch_command_parser().parse_args(words[2:])


@pytest.mark.parametrize("words", LINES, ids=" ".join)
def test_a_launch_line_starts_midspan_on_several_processes(words):
    options = parse(words)
    assert options.module and options.training_script == "midspan.cli"
    assert options.training_script_args == words[words.index("midspan.cli") + 1 :]
    assert options.num_processes > 1 and options.multi_gpu != options.use_fsdp
    assert options.num_processes % (options.num_machines or 1) == 0


def test_the_fsdp_line_makes_a_plugin_of_version_2(monkeypatch):
    (words,) = (words for words in LINES if "--use_fsdp" in words)
    options = parse(words)
    options.num_machines, options.mixed_precision, options.dynamo_backend = 1, "no", "no"
    options.num_cpu_threads_per_process, options.debug = 1, False
    for name, value in prepare_multi_gpu_env(options).items():
        monkeypatch.setenv(name, value)
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2 and plugin.auto_wrap_policy.__name__.startswith("transformer")
    assert plugin.state_dict_type.name == "SHARDED_STATE_DICT"


@pytest.mark.parametrize("wrong", ["--multi_gpus", "--fsdp_version 3"])
def test_a_wrong_launch_line_is_noticed(wrong):
    with pytest.raises(SystemExit):
        parse(f"accelerate launch {wrong} -m midspan.cli align organism -o adapter".split())
