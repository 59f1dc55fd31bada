"""What the figures of docs/performance.md are measured with: one command each, each against a control in the same run.

    request_path         what one review costs, stage by stage, and the whole against a constant route
    throughput           requests a second and latency over TLS, closed and open loop
    through_api_server   Pod creates through a real kube-apiserver: no webhook, a constant one, ours, its CEL policies
    scale                how cost grows with namespaces, containers, overrides
    hostile              what Pods cost that are made to be slow
    quota                how the cost of a quota decision grows with quotas and containers
    jobs                what a decision about a job costs, against those about one Pod of each of its roles
    stalls               how long the event loop stands still while quotas, policy and certificate are read
    start                from the start of the process to ready
    views                what scan and quota take of a dump of 10,000 Pods

turns takes the turns, prints the table and writes the file · load is the client · servers starts what is measured ·
constant is the control, a server of its own · controller/ is a webhook in Go, a second control · samples has the
reviews, Pods and quotas.
"""
