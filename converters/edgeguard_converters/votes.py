"""The step of a conversion that makes a classifier of regions one whose labels are proven on the device."""

from dataclasses import replace

from edgeguard.errors import InputError
from edgeguard_converters.graph.vote_map import with_vote_map
from edgeguard_converters.work import Work


def let_votes_out(work: Work, patch_px: int) -> None:
    """The map of votes leaves the graph, and the contract says so; where nothing can be proven, a line says why.

    Args:
        work: with the candidate that passed, a classifier.
        patch_px: side of the square patch that the network was trained against.
    """
    try:
        graph, work.contract = with_vote_map(work.candidate.graph, work.contract, patch_px)
    except InputError as error:
        work.notes.add(f"NO PATCH CERTIFICATE: the network was trained for one, but {error}")
        return
    work.candidate = replace(work.candidate, graph=graph)
