// The webhook in Go that benchmarks/ measures beside ours: what a platform team would write with controller-runtime.
//
// Like benchmarks/policy.yaml it does what examples/policy.yaml says for the benchmark's Pods, and less than ours, to
// its own advantage: init containers, zeros, overrides and quotas are left out, and it does not report what it changed.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"go.uber.org/zap/zapcore"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

const host = "127.0.0.1"

func main() {
	port := flag.Int("port", webhook.DefaultPort, "the port of /mutate, over https")
	certificates := flag.String("cert-dir", "", "the folder with tls.crt and tls.key")
	flag.Parse()
	log.SetLogger(zap.New(zap.JSONEncoder(func(config *zapcore.EncoderConfig) { config.MessageKey = "event" })))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	utilruntime.Must(serve(ctx, webhook.Options{Host: host, Port: *port, CertDir: *certificates}))
}

// serve answers reviews until ctx is done, and says whether it does at /readyz, on a free port over plain http.
func serve(ctx context.Context, options webhook.Options) error {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return err
	}
	server := webhook.NewServer(options)
	server.Register("/mutate", &admission.Webhook{Handler: &podHandler{decoder: admission.NewDecoder(scheme)}})

	health, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return err
	}
	probes := http.NewServeMux()
	probes.Handle("/readyz", healthz.CheckHandler{Checker: server.StartedChecker()})
	go func() { utilruntime.HandleError(http.Serve(health, probes)) }()
	address := net.JoinHostPort(options.Host, strconv.Itoa(options.Port))
	log.Log.Info("listening", "webhook", "https://"+address, "health", "http://"+health.Addr().String())

	return server.Start(ctx)
}

// podHandler mutates the Pods of Flyte.
type podHandler struct {
	decoder admission.Decoder
}

// Handle answers a review with the difference between the Pod and what the policy makes of it.
func (h *podHandler) Handle(_ context.Context, request admission.Request) admission.Response {
	pod := &corev1.Pod{}
	if err := h.decoder.Decode(request, pod); err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	if _, found := pod.Labels["execution-id"]; !found {
		return admission.Allowed("not a Pod of Flyte")
	}
	mutate(pod)
	mutated, err := json.Marshal(pod)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	return admission.PatchResponseFromRaw(request.Object.Raw, mutated)
}
