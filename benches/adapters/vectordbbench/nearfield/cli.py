"""The command of nearfield: `vectordbbench nearfield --path FILE`."""

from typing import Annotated, Unpack

import click

from ....cli.cli import CommonTypedDict, cli, click_parameter_decorators_from_typed_dict, run
from .. import DB


class NearfieldTypedDict(CommonTypedDict):
    path: Annotated[str, click.option("--path", type=str, help="File of the collection", required=True)]
    quantization: Annotated[str, click.option("--quantization", type=str, default="auto", help="Codes of the graph")]
    m: Annotated[int, click.option("--m", type=int, default=16, help="Neighbours that a node chooses")]
    ef_construction: Annotated[int, click.option("--ef-construction", type=int, default=200, help="Candidates of an insertion")]
    ef: Annotated[int, click.option("--ef", type=int, default=128, help="Candidates of a search")]


@cli.command()
@click_parameter_decorators_from_typed_dict(NearfieldTypedDict)
def Nearfield(**parameters: Unpack[NearfieldTypedDict]):
    from .config import NearfieldConfig, NearfieldIndexConfig

    chosen = {name: parameters[name] for name in ("quantization", "m", "ef_construction", "ef")}
    config = NearfieldConfig(db_label=parameters["db_label"], path=parameters["path"])
    run(db=DB.Nearfield, db_config=config, db_case_config=NearfieldIndexConfig(**chosen), **parameters)
