"""A stand-in for Azure Event Hubs on 127.0.0.1: an AMQP 1.0 server the unmodified azure-eventhub client talks to.

It is for tests and for trying the product without Azure; it is not the service and makes none of its promises.

    codec       AMQP 1.0 types, bytes to values and back
    frames      performatives and frames
    messages    what a sender's message becomes in the log
    segment     one file of a partition's log
    log         one partition: append, find, read, trim
    hub         a hub's partitions; which one an event goes to
    tokens      shared access signatures
    faults      what goes wrong on purpose
    namespace   the hubs of one folder, and the writes of one turn of the event loop
    links       a reader's and a writer's link
    nodes       `$cbs` and `$management`
    attach      opening a link
    intake      what clients send
    connection  one client's connection
    control     the run-time control (HTTP on the same port) and its client
    server      listening, time-outs, stopping
    process     a server in its own process
"""
