"""The program that issues the webhook's certificate and has the API server trust it.

    once a minute
      reconcile  reads the webhook configurations, the Secret, and the Secret of --from-secret
      ── pure: time is an argument ──
      rotation   why_issue, why_take(…, now) -> Reason | None
      pki        a new CA, and a leaf that it has signed; the CA's key is forgotten
      ──
      reconcile  caBundle: the new CA and those before it            a crash here leaves extra trust only
      reconcile  the Secret, with the resourceVersion that was read  409 ends the pass
      reconcile  caBundle: what the Secret says, and what others have added

The webhook only reads the mounted Secret. Besides that, the two programs share the listener, the log, and what is in
`webhook.shared`.
"""
