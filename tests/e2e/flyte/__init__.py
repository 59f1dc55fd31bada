"""Scenarios with a real Flyte 1, and with a client that has Flyte 2's own libraries: `make flyte`.

programs finds or builds what is run · platform runs it · kubelet says of Pods what a kubelet would say.

| what | from | real? |
|---|---|---|
| propeller 1.16.8, with its Kubernetes plugins but Spark's | `flyte1/propeller` | yes, configured as its chart does |
| tasks and workflows | flytekit, `tasks` | yes, but for the class of the Ray task |
| flyteadmin, whose module is not served | `flyte1/standin` | no; it launches with functions of Flyte's own |
| KubeRay 1.5.1 | its module | yes |
| object store | moto | no, in memory |
| executor of Flyte 2, whose module is not served | `flyte2/client` | no; its client libraries at its versions |
| kubelet | `kubelet` | no |
"""
