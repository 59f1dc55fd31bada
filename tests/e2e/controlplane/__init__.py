"""A Kubernetes control plane on loopback: where its programs come from, and how it is started and stopped.

binaries finds or builds the programs · processes runs them · the go.mod files pin what is built.
"""
