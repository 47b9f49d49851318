"""The Python side of a session: a supervisor process, and the kernels that it forks.

The daemon starts the supervisor with descriptor 3 as its control channel (see ``supervisor``):

    python3 -I .../execute_code_kernel/__main__.py [CACHE [BOX]]

Isolated mode (``-I``) keeps the environment and the current folder from deciding what is imported here. Only the
standard library is used. Nothing in this package trusts what session code can reach: each module takes its own
references at import, and its builtins from ``private``.

The modules, along the way of one execution:

    layout                           where in memory all of this lies
    supervisor → launch → kernel     from the daemon's command to a kernel that waits for work
    frames, channel                  what daemon, supervisor and kernel say to each other
    interrupts, observers, reserve   what keeps session code's signals, tracing and hunger for memory from the kernel
    metrics, streams                 what surrounds running code
    cells, sources, analysis         from a cell's text to the value of its last expression
    display, tracebacks, warned      what the execution shows
    namespace                        what it changed
    inspection, previews             a bounded look at variables
    api, spawn                       what session code finds beyond Python itself
    capture                          variables for another process, and back; loaded when it is needed
"""
