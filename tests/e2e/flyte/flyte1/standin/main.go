// What stands in for flyteadmin, whose module the Go module proxy does not have: `admin` takes propeller's events and
// writes each as one line of JSON; `launch` makes a FlyteWorkflow of a serialized workflow and creates it.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/flyteorg/flyte/flyteidl/gen/pb-go/flyteidl/admin"
	"github.com/flyteorg/flyte/flyteidl/gen/pb-go/flyteidl/core"
	"github.com/flyteorg/flyte/flyteidl/gen/pb-go/flyteidl/service"
	"github.com/flyteorg/flyte/flyteplugins/go/tasks/pluginmachinery/flytek8s"
	"github.com/flyteorg/flyte/flytepropeller/pkg/apis/flyteworkflow/v1alpha1"
	"github.com/flyteorg/flyte/flytepropeller/pkg/client/clientset/versioned"
	"github.com/flyteorg/flyte/flytepropeller/pkg/compiler"
	"github.com/flyteorg/flyte/flytepropeller/pkg/compiler/common"
	"github.com/flyteorg/flyte/flytepropeller/pkg/compiler/transformers/k8s"
	"github.com/flyteorg/flyte/flytepropeller/pkg/controller"
)

func main() {
	if len(os.Args) < 2 {
		log.Fatal("admin or launch")
	}
	switch os.Args[1] {
	case "admin":
		runAdmin(os.Args[2:])
	case "launch":
		launch(os.Args[2:])
	default:
		log.Fatal("admin or launch")
	}
}

type recorder struct {
	service.UnimplementedAdminServiceServer
	mutex sync.Mutex
	file  *os.File
}

func (r *recorder) record(kind string, event proto.Message) {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(event)
	if err != nil {
		log.Fatal(err)
	}
	line, err := json.Marshal(map[string]any{"at": time.Now().UTC().Format(time.RFC3339Nano), "kind": kind, "event": json.RawMessage(text)})
	if err != nil {
		log.Fatal(err)
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	_, _ = r.file.Write(append(line, '\n'))
}

func (r *recorder) CreateWorkflowEvent(_ context.Context, q *admin.WorkflowExecutionEventRequest) (*admin.WorkflowExecutionEventResponse, error) {
	r.record("workflow", q.GetEvent())
	return &admin.WorkflowExecutionEventResponse{}, nil
}

func (r *recorder) CreateNodeEvent(_ context.Context, q *admin.NodeExecutionEventRequest) (*admin.NodeExecutionEventResponse, error) {
	r.record("node", q.GetEvent())
	return &admin.NodeExecutionEventResponse{}, nil
}

func (r *recorder) CreateTaskEvent(_ context.Context, q *admin.TaskExecutionEventRequest) (*admin.TaskExecutionEventResponse, error) {
	r.record("task", q.GetEvent())
	return &admin.TaskExecutionEventResponse{}, nil
}

func runAdmin(arguments []string) {
	flags := flag.NewFlagSet("admin", flag.ExitOnError)
	address := flags.String("listen", "127.0.0.1:0", "address")
	path := flags.String("events", "events.jsonl", "file for the events")
	must(flags.Parse(arguments))
	file, err := os.OpenFile(*path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	must(err)
	listener, err := net.Listen("tcp", *address)
	must(err)
	server := grpc.NewServer()
	service.RegisterAdminServiceServer(server, &recorder{file: file})
	fmt.Println("listening on", listener.Addr())
	must(server.Serve(listener))
}

// platform is what flyteadmin has in task_resources: the container of the task is completed from it at launch.
type platform struct{ Defaults, Limits map[string]string }

func launch(arguments []string) {
	flags := flag.NewFlagSet("launch", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "file")
	closure := flags.String("closure", "", "file with a flyteidl.core.WorkflowClosure")
	name := flags.String("name", "", "of the execution")
	project := flags.String("project", "", "of the execution")
	namespace := flags.String("namespace", "", "of the FlyteWorkflow")
	resources := flags.String("task-resources", `{}`, `flyteadmin's task_resources, as JSON; {} is none`)
	interruptible := flags.Bool("interruptible", false, "launch it as interruptible, as the button of the console does")
	labels := flags.String("labels", "{}", "of the execution, as JSON: what whoever launches it can set")
	must(flags.Parse(arguments))

	var given platform
	decoder := json.NewDecoder(bytes.NewBufferString(*resources))
	must(decoder.Decode(&given))

	content, err := os.ReadFile(*closure)
	must(err)
	var made core.WorkflowClosure
	must(proto.Unmarshal(content, &made))
	var tasks []*core.CompiledTask
	for _, template := range made.GetTasks() {
		task, err := compiler.CompileTask(template)
		must(err)
		tasks = append(tasks, task)
	}
	compiled, err := compiler.CompileWorkflow(made.GetWorkflow(), nil, tasks, []common.InterfaceProvider{})
	must(err)
	for _, task := range compiled.GetTasks() {
		complete(task.GetTemplate(), given) // as flyteadmin's setCompiledTaskDefaults
	}
	id := made.GetWorkflow().GetId()
	execution := &core.WorkflowExecutionIdentifier{Project: *project, Domain: id.GetDomain(), Name: *name}
	workflow, err := k8s.BuildFlyteWorkflow(compiled, &core.LiteralMap{}, execution, *namespace)
	must(err)

	// As flyteadmin's PrepareFlyteWorkflow.
	workflow.ExecutionID = v1alpha1.WorkflowExecutionIdentifier{WorkflowExecutionIdentifier: execution}
	now := metav1.Now()
	workflow.AcceptedAt = &now
	_ = controllerutil.AddFinalizer(workflow, controller.Finalizer)
	must(json.Unmarshal([]byte(*labels), &workflow.Labels)) // those of the execution win, as in addMapValues
	workflow.WorkflowMeta = &v1alpha1.WorkflowMeta{EventVersion: 2}
	workflow.ExecutionConfig = v1alpha1.ExecutionConfig{
		TaskPluginImpls: map[string]v1alpha1.TaskPluginOverride{},
		MaxParallelism:  25,
		TaskResources:   v1alpha1.TaskResources{Requests: spec(given.Defaults), Limits: spec(given.Limits)},
	}
	if *interruptible {
		workflow.ExecutionConfig.Interruptible = interruptible
	}

	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	must(err)
	client, err := versioned.NewForConfig(config)
	must(err)
	created, err := client.FlyteworkflowV1alpha1().FlyteWorkflows(*namespace).Create(context.Background(), workflow, metav1.CreateOptions{})
	must(err)
	fmt.Println(created.Namespace + "/" + created.Name)
}

func spec(given map[string]string) v1alpha1.TaskResourceSpec {
	return v1alpha1.TaskResourceSpec{
		CPU: quantity(given["cpu"]), Memory: quantity(given["memory"]),
		EphemeralStorage: quantity(given["ephemeralStorage"]), GPU: quantity(given["gpu"]),
	}
}

func quantity(text string) resource.Quantity {
	if text == "" {
		return resource.Quantity{}
	}
	return resource.MustParse(text)
}

// complete gives the container of the template what flyteadmin gives it, with the function of flyteplugins that it uses.
func complete(template *core.TaskTemplate, given platform) {
	container := template.GetContainer()
	if container == nil || (given.Defaults == nil && given.Limits == nil) {
		return
	}
	had := container.GetResources()
	container.Resources = &core.Resources{}
	for _, each := range []struct {
		name  core.Resources_ResourceName
		key   string
		given bool // whether it is there in any case
	}{
		{core.Resources_CPU, "cpu", true},
		{core.Resources_MEMORY, "memory", true},
		{core.Resources_EPHEMERAL_STORAGE, "ephemeralStorage", false},
		{core.Resources_GPU, "gpu", false},
	} {
		request, limit := entry(had.GetRequests(), each.name), entry(had.GetLimits(), each.name)
		standard, maximum := quantity(given.Defaults[each.key]), quantity(given.Limits[each.key])
		if !each.given && request.IsZero() && limit.IsZero() && standard.IsZero() {
			continue
		}
		final := flytek8s.AdjustOrDefaultResource(request, limit, standard, maximum)
		container.Resources.Requests = append(container.Resources.Requests, &core.Resources_ResourceEntry{Name: each.name, Value: final.Request.String()})
		container.Resources.Limits = append(container.Resources.Limits, &core.Resources_ResourceEntry{Name: each.name, Value: final.Limit.String()})
	}
}

func entry(entries []*core.Resources_ResourceEntry, name core.Resources_ResourceName) resource.Quantity {
	for _, each := range entries {
		if each.GetName() == name {
			return quantity(each.GetValue())
		}
	}
	return resource.Quantity{}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
