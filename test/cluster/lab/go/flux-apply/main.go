// Command flux-apply applies the manifests on its standard input as Flux's kustomize-controller applies them.
// It uses the same library, field manager, stages and wait for readiness.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/engine"
	"github.com/fluxcd/pkg/runtime/statusreaders"
	"github.com/fluxcd/pkg/ssa"
	"github.com/fluxcd/pkg/ssa/normalize"
	"github.com/fluxcd/pkg/ssa/utils"
	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	manager = "kustomize-controller"
	group   = "kustomize.toolkit.fluxcd.io"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "the kubeconfig file of the cluster")
	timeout := flag.Duration("timeout", 5*time.Minute, "how long to wait for the objects to become ready")
	owner := flag.String("owner", "lab", "the name of the Kustomization in the owner labels")
	wait := flag.Bool("wait", false, "wait until every object is ready")
	diff := flag.Bool("diff", false, "report drift without applying anything")
	flag.Parse()
	log.SetLogger(logr.Discard())
	ctx := context.Background()

	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	check(err)
	config.QPS, config.Burst = 50, 300
	kube, err := client.New(config, client.Options{})
	check(err)
	objects, err := utils.ReadObjects(os.Stdin)
	check(err)
	// Flux waits until a Job completes. Without this reader, the library accepts a Job that has started.
	readers := []engine.StatusReader{statusreaders.NewCustomJobStatusReader(kube.RESTMapper())}
	poller := polling.NewStatusPoller(kube, kube.RESTMapper(), polling.Options{CustomStatusReaders: readers})
	resources := ssa.NewResourceManager(kube, poller, ssa.Owner{Field: manager, Group: group})
	resources.SetOwnerLabels(objects, *owner, "flux-system")
	resources.SetConcurrency(4)
	check(normalize.UnstructuredList(objects))

	apply := applyOptions()
	if *diff {
		drift := ssa.DiffOptions{Exclusions: apply.ExclusionSelector, IfNotPresentSelector: apply.IfNotPresentSelector}
		for _, object := range objects {
			entry, _, _, err := resources.Diff(ctx, object, drift)
			check(err)
			report(map[string]string{"object": utils.FmtUnstructured(object), "action": entry.Action.String()})
		}
		return
	}

	changes, err := resources.ApplyAllStaged(ctx, objects, apply)
	applied := ssa.NewChangeSet()
	for _, entry := range changes.Entries {
		report(map[string]string{"object": entry.Subject, "action": entry.Action.String()})
		if entry.Action != ssa.SkippedAction {
			applied.Add(entry)
		}
	}
	check(err)
	if *wait {
		ready := ssa.WaitOptions{Interval: 5 * time.Second, Timeout: *timeout, FailFast: true}
		ready.JobsWithTTL = utils.ExtractJobsWithTTL(objects)
		if err := resources.WaitForSetWithContext(ctx, applied.ToObjMetadataSet(), ready); err != nil {
			report(map[string]string{"wait": "failed", "error": err.Error()})
			os.Exit(1)
		}
		report(map[string]string{"wait": "ready"})
	}
}

// applyOptions returns the options of kustomize-controller, without the clean-up of metadata from old Flux versions.
func applyOptions() ssa.ApplyOptions {
	options := ssa.DefaultApplyOptions()
	options.ExclusionSelector = map[string]string{group + "/reconcile": "disabled", group + "/ssa": "Ignore"}
	options.IfNotPresentSelector = map[string]string{group + "/ssa": "IfNotPresent"}
	options.ForceSelector = map[string]string{group + "/force": "enabled"}
	options.Cleanup.Annotations = []string{corev1.LastAppliedConfigAnnotation}
	options.Cleanup.Exclusions = map[string]string{group + "/ssa": "Merge"}
	options.Cleanup.FieldManagers = []ssa.FieldManager{
		{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationApply},
		{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationUpdate},
		{Name: "before-first-apply", OperationType: metav1.ManagedFieldsOperationUpdate},
		{Name: manager, OperationType: metav1.ManagedFieldsOperationUpdate},
	}
	return options
}

// report prints one JSON line.
func report(line map[string]string) {
	check(json.NewEncoder(os.Stdout).Encode(line))
}

// check exits with status 1 if err is set.
func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "flux-apply:", err)
		os.Exit(1)
	}
}
