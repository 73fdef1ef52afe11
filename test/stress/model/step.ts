import type { Mode } from '../../../src/api/names.ts';

/** What a user does to one Deployment, named by `of`. */
export type UserStep =
  /** Another image of a container; `null` takes a sidecar or init container away. With `paused`, in the same request. */
  | {
      readonly do: 'image';
      readonly of: string;
      readonly container: ContainerName;
      readonly image: string | null;
      readonly paused?: boolean;
      readonly bypass?: true;
    }
  | { readonly do: 'env' | 'restart'; readonly of: string }
  | { readonly do: 'policy'; readonly of: string; readonly always: boolean }
  | { readonly do: 'scale'; readonly of: string; readonly replicas: number }
  | { readonly do: 'paused' | 'keepPaused' | 'off'; readonly of: string; readonly on: boolean }
  | { readonly do: 'bypass'; readonly of: string }
  /** Asks to go back to what runs. */
  | { readonly do: 'revert'; readonly of: string }
  /** The same manifest once more. */
  | { readonly do: 'again'; readonly of: string }
  /** The whole object, without any mark of the gate's. */
  | { readonly do: 'replace'; readonly of: string }
  | {
      readonly do: 'setting';
      readonly of: string;
      readonly annotation: string;
      readonly value: string | null;
    }
  | { readonly do: 'copy' | 'save' | 'restore' | 'deletePreloads'; readonly of: string }
  /** As `kubectl rollout undo`. */
  | { readonly do: 'undo'; readonly of: string }
  /** What was refused before. */
  | { readonly do: 'repeat'; readonly of: string };

/** What happens to a namespace, its registry and its nodes; nodes by their place in the list of those that are there. */
export type WorldStep =
  | { readonly do: 'mode'; readonly mode: Mode | 'none' }
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'push' | 'breakRegistry' | 'mendRegistry' | 'hang' | 'unhang'; readonly image: string }
  | { readonly do: 'hangOn'; readonly image: string; readonly node: number }
  | {
      readonly do:
        | 'cordon'
        | 'uncordon'
        | 'notReady'
        | 'ready'
        | 'relabel'
        | 'unlabel'
        | 'deleteNode'
        | 'reboot'
        | 'refuse'
        | 'accept';
      readonly node: number;
    }
  /** Whether the containers of the workloads are ready. */
  | { readonly do: 'serve'; readonly on: boolean }
  | { readonly do: 'addNode' };

export type Step = UserStep | WorldStep;

export type ContainerName = 'app' | 'sidecar' | 'init';

/** A sequence of steps, with what it begins with. */
export interface Sequence {
  readonly mode: Mode;
  readonly workloads: readonly { readonly name: string; readonly replicas: number }[];
  readonly nodes: number;
  readonly steps: readonly Step[];
}

/** As a line to read. */
export function stepText(step: Step): string {
  const { do: what, ...rest } = step;
  const words = Object.entries(rest).map(([name, value]) => `${name}=${value}`);
  return [what, ...words].join(' ');
}

export function isUserStep(step: Step): step is UserStep {
  return 'of' in step;
}
