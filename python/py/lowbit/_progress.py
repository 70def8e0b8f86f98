"""What is told of a fit while it runs: to a callback, to a bar of tqdm, or on standard output."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, Iterator

from .errors import InputError


@contextmanager
def told(
    progress: Any, verbose: bool | int, most: int, by: str = "n_iter"
) -> Iterator[Callable[[dict[str, Any]], None] | None]:
    """A function that the library calls with what it has to say, or none if nobody listens; `by` is what a bar counts, up to `most`."""
    if not (callable(progress) or progress is None or isinstance(progress, bool)):
        raise InputError(f"progress is {progress!r}: expected a function, True or None")
    bar = None
    if progress is True:
        try:
            from tqdm.auto import tqdm
        except ImportError as error:
            raise ImportError("progress=True shows a bar of tqdm: pip install tqdm") from error
        bar = tqdm(total=most, unit="iteration" if by == "n_iter" else by)

    def tell(news: dict[str, Any]) -> None:
        if callable(progress):
            progress(news)
        if bar is not None and news["step"] == "iterating":
            bar.update(news[by] - bar.n)
            bar.set_postfix(inertia=news["inertia"], changed=news["changed"])
        if verbose and news["step"] == "iterating":
            inertia = "" if news["inertia"] is None else f", inertia {news['inertia']}"
            print(f"Iteration {news['n_iter']}{inertia}, {news['changed']} labels changed.", flush=True)

    try:
        yield tell if callable(progress) or bar is not None or verbose else None
    finally:
        if bar is not None:
            bar.close()
