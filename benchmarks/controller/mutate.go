package main

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

const gpu corev1.ResourceName = "nvidia.com/gpu"

// What examples/policy.yaml says.
var (
	taskDefaults = corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("500m"),
		corev1.ResourceMemory:           resource.MustParse("500Mi"),
		corev1.ResourceEphemeralStorage: resource.MustParse("1Gi"),
	}
	sidecarDefaults = corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("100m"),
		corev1.ResourceMemory: resource.MustParse("64Mi"),
	}
	maxima = corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("4"),
		corev1.ResourceMemory:           resource.MustParse("8Gi"),
		corev1.ResourceEphemeralStorage: resource.MustParse("100Gi"),
		gpu:                             resource.MustParse("2"),
	}
	gpuToleration = corev1.Toleration{
		Key: string(gpu), Operator: corev1.TolerationOpEqual, Value: "present", Effect: corev1.TaintEffectNoSchedule,
	}
)

// mutate fills, clamps and tolerates.
func mutate(pod *corev1.Pod) {
	usesGPU := false
	for i := range pod.Spec.Containers {
		container := &pod.Spec.Containers[i]
		defaults := sidecarDefaults
		if container.Name == pod.Name { // the task's, as Flyte names it
			defaults = taskDefaults
		}
		fill(&container.Resources, defaults)
		clamp(container.Resources.Limits)
		clamp(container.Resources.Requests)
		_, found := container.Resources.Limits[gpu]
		usesGPU = usesGPU || found
	}
	if usesGPU {
		tolerate(&pod.Spec)
	}
}

// fill makes a missing request the limit, else the default, and a missing limit the request.
func fill(resources *corev1.ResourceRequirements, defaults corev1.ResourceList) {
	if resources.Requests == nil {
		resources.Requests = corev1.ResourceList{}
	}
	if resources.Limits == nil {
		resources.Limits = corev1.ResourceList{}
	}
	addMissing(resources.Requests, resources.Limits)
	addMissing(resources.Requests, defaults)
	addMissing(resources.Limits, resources.Requests)
}

// addMissing copies the amounts of the resources that the list does not name.
func addMissing(list, amounts corev1.ResourceList) {
	for name, amount := range amounts {
		if _, found := list[name]; !found {
			list[name] = amount
		}
	}
}

// clamp lowers what is over its maximum.
func clamp(list corev1.ResourceList) {
	for name, maximum := range maxima {
		if amount, found := list[name]; found && amount.Cmp(maximum) > 0 {
			list[name] = maximum
		}
	}
}

// tolerate adds the taint of the GPU nodes, unless it is tolerated already.
func tolerate(spec *corev1.PodSpec) {
	for _, toleration := range spec.Tolerations {
		if toleration.MatchToleration(&gpuToleration) {
			return
		}
	}
	spec.Tolerations = append(spec.Tolerations, gpuToleration)
}
