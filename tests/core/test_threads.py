"""Threads and processes: gradients are exact, first look-ups wait for imports, and a fork leaves nothing locked."""

import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import optim
from tinygraph.core.state import Generator, buffer, write


@pytest.fixture(autouse=True)
def switching_often():
    """Threads take turns every few bytecodes, so that what can be torn is."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(work, count=4):
    faults = []

    def run(number):
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - raised again below
            faults.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    if faults:
        raise faults[0]


@pytest.mark.parametrize("attempt", range(3))
def test_500_backward_passes_from_four_threads(attempt):
    p = tg.tensor(2.0, requires_grad=True)

    def work(number):
        for i in range(number, 500, 4):
            (p * i).backward()

    in_threads(work)
    assert p.grad.item() == 124_750.0


def test_arrays_accumulate_exactly():
    p = tg.tensor(np.ones(3), requires_grad=True)

    def work(number):
        for i in range(number, 400, 4):
            (p * np.array([i, 1.0, -i])).sum().backward()

    in_threads(work)
    assert p.grad.tolist() == [79_800.0, 400.0, -79_800.0]


def test_recorded_gradients_accumulate_exactly():
    p = tg.tensor(3.0, requires_grad=True)

    def work(_):
        for _ in range(50):
            (p * p).backward(create_graph=True)

    in_threads(work)
    assert p.grad.item() == 1200.0
    second = tg.tensor(np.float64(0))
    grad, p.grad = p.grad, None
    grad.backward(second * 0 + 1)
    assert p.grad.item() == 400.0


def test_gradients_that_are_forgotten_meanwhile_stay_forgotten():
    p, kept = tg.tensor(1.0, requires_grad=True), []

    def work(number):
        for _ in range(200):
            if number:
                (p * 1.0).backward()
            else:
                found, p.grad = p.grad, None
                kept.append(0.0 if found is None else found.item())

    in_threads(work)
    # what was read and thrown away, and what is left, is no more than was added: nothing comes back
    assert sum(kept) + (p.grad.item() if p.grad is not None else 0.0) <= 600.0


def test_steps_of_one_optimizer_from_threads_are_each_made():
    p = tg.tensor(np.zeros(4), requires_grad=True)
    p.grad = tg.tensor(np.ones(4))
    optimizer = optim.Adam([p], lr=1.0)
    in_threads(lambda _: [optimizer.step() for _ in range(50)])
    assert optimizer.state[p]["step"].item() == 200.0

    q = tg.tensor(np.zeros(4), requires_grad=True)
    q.grad = tg.tensor(np.ones(4))
    plain = optim.SGD([q], lr=1.0)
    in_threads(lambda _: [plain.step() for _ in range(50)])
    assert q.tolist() == [-200.0] * 4


def test_writes_from_threads_are_all_noticed():
    state = buffer(np.zeros(2))
    in_threads(lambda _: [write(state, np.ones(2)) for _ in range(500)])
    assert state._leaf.version == 2000


def test_orders_are_given_once():
    x, nodes = tg.tensor(1.0, requires_grad=True), []
    in_threads(lambda _: nodes.extend((x * 2).node.order for _ in range(500)))
    assert len(set(nodes)) == 2000


def test_generators_give_each_number_once():
    generator, drawn = Generator(0), []
    in_threads(lambda _: drawn.extend(float(generator.uniform(())) for _ in range(250)))
    assert sorted(drawn) == sorted(np.random.default_rng(0).uniform(size=1000).tolist())


def run_python(text):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(text)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_first_look_ups_from_many_threads():
    found = run_python(
        """
        import sys, threading
        sys.setswitchinterval(1e-6)
        import numpy as np, tinygraph as tg
        start, results = threading.Barrier(8), []

        def work(number):
            x = tg.tensor(np.ones(2) / 2, requires_grad=True)
            start.wait()
            f = (np.sin, np.linalg.norm, tg.ops.tanh if False else np.tanh, lambda x: tg.ops.logsumexp(x))[number % 4]
            f(x).sum().backward()
            results.append(x.grad.shape)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        [t.start() for t in threads]; [t.join() for t in threads]
        print(len(results))
        """
    )
    assert found.strip() == "8"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_finds_no_lock_taken():
    found = run_python(
        """
        import os, threading, warnings
        warnings.simplefilter("ignore")
        import numpy as np, tinygraph as tg
        from tinygraph.core.locks import leaf_lock
        from tinygraph import optim
        p = tg.tensor(2.0, requires_grad=True)
        optimizer = optim.SGD([p], lr=0.5)
        taken, done = threading.Event(), threading.Event()

        def hold():
            with leaf_lock.held, optimizer.lock.held:
                taken.set(); done.wait(60)

        thread = threading.Thread(target=hold); thread.start(); taken.wait(30)
        child = os.fork()
        if child == 0:
            import signal
            signal.alarm(30)
            (np.sin(p) * 0 + p * 3).backward()
            optimizer.step()
            os._exit(0 if p.grad.item() == 3.0 and p.item() == 0.5 else 1)
        print(os.waitpid(child, 0)[1])
        done.set(); thread.join()
        """
    )
    assert found.strip() == "0"
