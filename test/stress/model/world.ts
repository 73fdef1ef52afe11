import { MODE_LABEL, type Mode } from '../../../src/api/names.ts';
import type { ApiClient } from '../../../src/cluster/api-client.ts';
import type { Answer } from '../../cluster/simulated/registry.ts';
import type { SimulatedNodes } from '../../cluster/simulated/simulated-nodes.ts';
import { answerOf, BROKEN, PULLED, PUSHED, RUNNING, referenceOf, UNEVEN } from './images.ts';
import { POOL_LABEL } from './on-nodes.ts';
import type { WorldStep } from './step.ts';

/** No fewer nodes than these are left, and no more are made. */
const NODES = { least: 1, most: 4 };
/** A pull must end some time: at rest, everything can be had. */
const AT_REST: Answer = { seconds: 0.2 };

/** What a sequence can do to the registry and the nodes of its own. */
export interface World {
  apply(step: WorldStep): Promise<void>;
  /** Everything is there, and every node works. */
  heal(): Promise<void>;
}

export function createWorld(
  api: ApiClient,
  namespace: string,
  nodes: SimulatedNodes,
  onMode: (mode: Mode | 'none') => void,
): World {
  const { registry } = nodes;
  /** What has been pushed, or was there from the start. */
  const pushed = new Map<string, Answer>();
  const broken = new Set<string>();
  const tell = (tag: string, answer: Answer) => registry.answer(referenceOf(namespace, tag), answer);
  // By digest, and a digest of another image: never the lab's own registry.
  tell(RUNNING, AT_REST);
  for (const tag of PULLED) {
    const answer = answerOf(tag);
    if (answer !== undefined) {
      // What hangs from the start can be fixed, too.
      const hangs = 'hangs' in answer;
      if (hangs) broken.add(tag);
      pushed.set(tag, hangs ? PUSHED : answer);
      tell(tag, answer);
    }
  }

  registry.answer(referenceOf(namespace, UNEVEN), PUSHED, ...nodes.names().slice(0, 1));

  /** One that is missing can neither fail nor hang: there is nothing to pull. */
  const fault = (tag: string, answer: Answer, ...on: string[]) => {
    broken.add(tag);
    registry.answer(referenceOf(namespace, tag), answer, ...on);
  };
  const fix = (tag: string) => {
    const answer = pushed.get(tag);
    if (!broken.delete(tag) || answer === undefined) return;
    tell(tag, answer);
    registry.answer(referenceOf(namespace, tag), answer, ...nodes.names());
  };
  const named = (place: number) => {
    const names = nodes.names();
    return names[place % names.length] ?? '';
  };

  async function apply(step: WorldStep): Promise<void> {
    switch (step.do) {
      case 'mode': {
        const labels = { [MODE_LABEL]: step.mode === 'none' ? null : step.mode };
        onMode(step.mode);
        await api.mergePatch(`/api/v1/namespaces/${namespace}`, { metadata: { labels } });
        return onMode(step.mode);
      }
      case 'push':
        pushed.set(step.image, PUSHED);
        return tell(step.image, PUSHED);
      case 'breakRegistry':
        return pushed.has(step.image) ? fault(step.image, BROKEN) : undefined;
      case 'hang':
        return pushed.has(step.image) ? fault(step.image, { hangs: true }) : undefined;
      case 'hangOn':
        return pushed.has(step.image) ? fault(step.image, { hangs: true }, named(step.node)) : undefined;
      case 'mendRegistry':
      case 'unhang':
        return fix(step.image);
      case 'cordon':
        return await nodes.cordon(named(step.node));
      case 'uncordon':
        return await nodes.uncordon(named(step.node));
      case 'notReady':
        return await nodes.notReady(named(step.node));
      case 'ready':
        return await nodes.ready(named(step.node));
      case 'relabel':
        return await nodes.label(named(step.node), { [POOL_LABEL]: 'other' });
      case 'unlabel':
        return await nodes.label(named(step.node), { [POOL_LABEL]: null });
      case 'deleteNode':
        return nodes.names().length > NODES.least ? await nodes.delete(named(step.node)) : undefined;
      case 'addNode':
        if (nodes.names().length < NODES.most) await nodes.add();
        return undefined;
      case 'reboot':
        return await nodes.reboot(named(step.node));
      case 'refuse':
      case 'accept':
        return nodes.accept(named(step.node), step.do === 'accept');
      case 'serve':
        return nodes.serve(step.on);
      case 'wait':
        return undefined;
    }
  }

  return {
    apply,
    async heal() {
      for (const tag of [RUNNING, ...PULLED]) {
        tell(tag, AT_REST);
        registry.answer(referenceOf(namespace, tag), AT_REST, ...nodes.names());
      }
      nodes.serve(true);
      for (const node of nodes.names()) {
        nodes.accept(node, true);
        await nodes.uncordon(node);
        await nodes.ready(node);
        await nodes.label(node, { [POOL_LABEL]: null });
      }
    },
  };
}
