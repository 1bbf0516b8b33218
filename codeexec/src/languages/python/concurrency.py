"""Emulates threads, executors and event loops in an interpreter without threads, sockets and processes. Runs once, before the
snapshot.

A started thread is pending until the running thread waits: for a `join`, a held lock, an empty queue, a `sleep`, the end of the
program. Then the pending thread runs to its end, on the stack of the waiting thread. Real threads could run in this order too,
unless two threads wait for each other by turns; in that case an exception says so.
"""


def install_concurrency():
    import _thread
    import queue
    import threading
    import time

    pending = []
    main = _thread.get_ident()
    state = {"ident": main, "next": main + 1}
    real_sleep = time.sleep

    class Abandoned(BaseException):
        """Ends a daemon thread that would wait for ever, so that the threads below it on the stack continue."""

    def run(thread):
        before, state["ident"] = state["ident"], thread._ident
        try:
            thread.run()
        except SystemExit as error:
            # Tells the judge about an exit in a thread of the tests.
            heard = getattr(threading, "exithook", None)
            if heard is not None:
                heard(error)
        except Abandoned:
            pass
        except BaseException as error:
            threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, thread)))
        finally:
            state["ident"] = before
            thread._codeexec_ended = True
            threading._active.pop(thread._ident, None)

    def run_pending():
        while pending:
            run(pending.pop(0))

    def wait(is_ready, timeout=None):
        """Runs other threads until `is_ready()` is true; returns False if the timeout in seconds passes first."""
        while not is_ready():
            if pending:
                run(pending.pop(0))
            elif timeout is not None:
                real_sleep(timeout)
                return is_ready()
            elif state["ident"] == main:
                raise RuntimeError("every thread waits: this is a deadlock")
            elif threading.current_thread().daemon:
                raise Abandoned
            else:
                raise RuntimeError("threads run one after another in this sandbox, and this one waits for one that waits")
        return True

    class Lock:
        """A lock that runs other threads while it waits."""

        def __init__(self):
            self._held = False

        def acquire(self, blocking=True, timeout=-1):
            if not blocking and timeout != -1:
                raise ValueError("can't specify a timeout for a non-blocking call")
            if timeout < 0 and timeout != -1:
                raise ValueError("timeout value must be a non-negative number")
            if self._held:
                if not blocking or not wait(lambda: not self._held, None if timeout == -1 else timeout):
                    return False
            self._held = True
            return True

        def release(self):
            if not self._held:
                raise RuntimeError("release unlocked lock")
            self._held = False

        def locked(self):
            return self._held

        def _at_fork_reinit(self):
            self._held = False

        def __enter__(self):
            return self.acquire()

        def __exit__(self, *_):
            self.release()

        def __repr__(self):
            return "<%s _thread.lock object at %#x>" % ("locked" if self._held else "unlocked", id(self))

        acquire_lock, release_lock, locked_lock = acquire, release, locked

    Lock.__name__ = Lock.__qualname__ = "lock"
    Lock.__module__ = "_thread"
    threading.Lock = threading._allocate_lock = _thread.allocate_lock = _thread.allocate = _thread.lock = Lock
    _thread.LockType = Lock
    threading._CRLock = None
    if isinstance(threading.RLock, type):
        threading.RLock = threading._PyRLock
    threading.get_ident = _thread.get_ident = lambda: state["ident"]
    threading.get_native_id = _thread.get_native_id = threading.get_ident
    sizes = [0]

    def stack_size(size=0):
        if size and size < 32768:
            raise ValueError("size not valid: " + str(size) + " bytes")
        before, sizes[0] = sizes[0], size
        return before

    threading.stack_size = _thread.stack_size = stack_size
    import _threading_local
    threading.local = _threading_local.local

    def start(self):
        if not self._initialized:
            raise RuntimeError("thread.__init__() not called")
        if self._started.is_set():
            raise RuntimeError("threads can only be started once")
        self._ident = self._native_id = state["next"]
        state["next"] += 1
        self._started.set()
        threading._active[self._ident] = self
        pending.append(self)

    def is_alive(self):
        return self._started.is_set() and not getattr(self, "_codeexec_ended", False)

    def join(self, timeout=None):
        if not self._initialized:
            raise RuntimeError("Thread.__init__() not called")
        if not self._started.is_set():
            raise RuntimeError("cannot join thread before it is started")
        if self is threading.current_thread():
            raise RuntimeError("cannot join current thread")
        wait(lambda: getattr(self, "_codeexec_ended", False), None if timeout is None else max(timeout, 0))

    threading.Thread.start, threading.Thread.is_alive, threading.Thread.join = start, is_alive, join
    threading.Thread.ident = property(lambda self: self._ident)

    def start_new_thread(function, args, kwargs={}):
        thread = threading.Thread(target=function, args=args, kwargs=kwargs, daemon=True)
        thread.start()
        return thread.ident

    _thread.start_new_thread = _thread.start_new = start_new_thread
    queue.SimpleQueue = queue._PySimpleQueue

    def sleep(seconds):
        if pending:
            run_pending()
        real_sleep(seconds)

    sleep.__doc__ = real_sleep.__doc__
    time.sleep = sleep
    install_executors(threading)
    install_loops(run_pending, pending, real_sleep)
    return run_pending


def install_executors(threading):
    import concurrent.futures
    import concurrent.futures._base as base
    import concurrent.futures.thread
    import itertools
    import multiprocessing
    import multiprocessing.context
    import multiprocessing.pool
    import multiprocessing.process
    import multiprocessing.dummy
    import os

    counter = itertools.count()

    class ThreadPoolExecutor(base.Executor):
        def __init__(self, max_workers=None, thread_name_prefix="", initializer=None, initargs=(), **_):
            if max_workers is None:
                max_workers = 5
            if max_workers <= 0:
                raise ValueError("max_workers must be greater than 0")
            if initializer is not None and not callable(initializer):
                raise TypeError("initializer must be a callable")
            self._max_workers = max_workers
            self._prefix = thread_name_prefix or "ThreadPoolExecutor-%d" % next(counter)
            self._initializer, self._initargs = initializer, initargs
            self._tasks, self._started, self._closed = [], set(), False

        def submit(self, fn, /, *args, **kwargs):
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            future, worker = base.Future(), len(self._tasks) % self._max_workers

            def work():
                if not future.set_running_or_notify_cancel():
                    return
                try:
                    if self._initializer is not None and worker not in self._started:
                        self._started.add(worker)
                        self._initializer(*self._initargs)
                    result = fn(*args, **kwargs)
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)
            thread = threading.Thread(target=work, name="%s_%d" % (self._prefix, worker), daemon=True)
            self._tasks.append((thread, future))
            thread.start()
            return future

        def shutdown(self, wait=True, *, cancel_futures=False):
            self._closed = True
            if cancel_futures:
                for _, future in self._tasks:
                    future.cancel()
            if wait:
                for thread, _ in self._tasks:
                    thread.join()

    class ProcessPoolExecutor(ThreadPoolExecutor):
        """Runs its tasks one after another in this one process."""

    concurrent.futures.ThreadPoolExecutor = concurrent.futures.thread.ThreadPoolExecutor = ThreadPoolExecutor
    concurrent.futures.ProcessPoolExecutor = ProcessPoolExecutor

    class Result:
        def __init__(self, work, callback=None, error_callback=None):
            self._value = self._error = None
            try:
                self._value = work()
            except Exception as error:
                self._error = error
            then = error_callback if self._error else callback
            if then:
                then(self._error or self._value)

        def get(self, timeout=None):
            if self._error:
                raise self._error
            return self._value

        def wait(self, timeout=None):
            pass

        def ready(self):
            return True

        def successful(self):
            return self._error is None

    class Pool:
        """The interface of multiprocessing.Pool in this one process: the tasks run one after another."""

        def __init__(self, processes=None, initializer=None, initargs=(), *_, **__):
            if processes is not None and processes < 1:
                raise ValueError("Number of processes must be at least 1")
            self._open = True
            if initializer:
                initializer(*initargs)

        def _check(self):
            if not self._open:
                raise ValueError("Pool not running")

        def apply(self, func, args=(), kwds={}):
            self._check()
            return func(*args, **kwds)

        def map(self, func, iterable, chunksize=None):
            self._check()
            return [func(item) for item in iterable]

        def starmap(self, func, iterable, chunksize=None):
            self._check()
            return [func(*item) for item in iterable]

        def imap(self, func, iterable, chunksize=1):
            self._check()
            return (func(item) for item in list(iterable))

        imap_unordered = imap

        def apply_async(self, func, args=(), kwds={}, callback=None, error_callback=None):
            self._check()
            return Result(lambda: func(*args, **kwds), callback, error_callback)

        def map_async(self, func, iterable, chunksize=None, callback=None, error_callback=None):
            return Result(lambda: self.map(func, iterable), callback, error_callback)

        def starmap_async(self, func, iterable, chunksize=None, callback=None, error_callback=None):
            return Result(lambda: self.starmap(func, iterable), callback, error_callback)

        def close(self):
            self._open = False

        terminate = close

        def join(self):
            if self._open:
                raise ValueError("Pool is still running")

        def __enter__(self):
            self._check()
            return self

        def __exit__(self, *_):
            self.close()

    multiprocessing.Pool = multiprocessing.pool.Pool = multiprocessing.pool.ThreadPool = multiprocessing.dummy.Pool = Pool
    multiprocessing.context.BaseContext.Pool = lambda self, *args, **kwargs: Pool(*args, **kwargs)

    def lacks(what):
        def refuse(*_, **__):
            raise OSError("this sandbox has one process: multiprocessing." + what
                          + " is not there; multiprocessing.Pool, concurrent.futures and threading are")
        return refuse

    multiprocessing.process.BaseProcess.start = lacks("Process.start")
    for name in ("Queue", "JoinableQueue", "SimpleQueue", "Pipe", "Manager", "Value", "Array", "RawValue", "RawArray", "Lock",
                 "RLock", "Semaphore", "BoundedSemaphore", "Condition", "Event", "Barrier"):
        setattr(multiprocessing, name, lacks(name))
    if os.cpu_count() is None:
        os.cpu_count = os.process_cpu_count = lambda: 1
    multiprocessing.cpu_count = lambda: 1


def install_loops(run_pending, pending, real_sleep):
    import asyncio
    import asyncio.selector_events
    import selectors

    class Waiting(selectors._BaseSelectorImpl):
        """A selector without files or sockets: it runs pending threads, or sleeps until the timeout."""

        def select(self, timeout=None):
            if pending:
                run_pending()
            elif timeout is None:
                raise RuntimeError("the event loop waits for something that cannot happen: this is a deadlock")
            elif timeout > 0:
                real_sleep(timeout)
            return []

    selectors.DefaultSelector = Waiting

    def nothing(self):
        self._ssock = self._csock = None

    loop = asyncio.selector_events.BaseSelectorEventLoop
    loop._make_self_pipe = loop._close_self_pipe = loop._write_to_self = nothing
