"""The webhook that the API server calls before it stores a Pod.

    POST /mutate | /validate
      bounded_http      speaks HTTP/1.1 within bounds                       too much, too slow: 4xx, or closed
      body              reads the body                                      too large, not JSON: 4xx; no room left: 503
      admission_review  decodes it: AdmissionReview -> Request              not a review: 400 with the JSON path
      ── pure: no clock, no I/O, no logging ──
      admission
        flyte           whose Pod is it -> Task                             none of Flyte's: allowed untouched
        policy          what holds for this task -> Settings
        rules           fill, clamp, tolerate: Pod -> Pod and Changes       each sees the Pod the one before left
        rules           quota: what does it cost -> Verdict
        refusal         for now or for ever, and who asks -> Denied
      trace             Changes -> annotation, audit annotations, warnings
      patch             Changes -> JSON Patch
      admission_review  encodes Allowed, Denied, or ReportOnly
      ──
      app               answers, one log line, metrics

On the side, cluster lists and watches the ResourceQuotas, quota_answers decodes them one by one, and reflector keeps
the Snapshot that Pods are checked against; reload follows the policy and the certificates; supervise keeps them going.

`review` does the same offline, from a manifest; `__main__` is the command line of both.
"""
