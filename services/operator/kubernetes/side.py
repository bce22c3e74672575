"""The operator's Kubernetes side, put together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.operator.kubernetes.cluster import connect
from services.operator.kubernetes.cluster_view import ClusterView
from services.operator.kubernetes.gone_pods import GonePods
from services.operator.kubernetes.jobs import Jobs
from services.operator.kubernetes.warm_pool import WarmPool
from services.operator.settings import OperatorSettings
from shared.redis.connection import Redis
from shared.sweep import Sweep


@asynccontextmanager
async def kubernetes_side(redis: Redis, sweep: Sweep, settings: OperatorSettings) -> AsyncIterator[Jobs]:
    """Gives the launcher; while the context lasts, the warm pool has its size, and Pods that are gone hold no leases.

    Jobs go on when it ends: they are the cluster's, not the operator's.
    """
    async with connect() as cluster:
        view = ClusterView(cluster, settings.runner_deployment)
        jobs = Jobs(redis, cluster, view, settings)
        gone = GonePods(sweep)
        view.pod_changed.append(gone.note)
        pool = WarmPool(redis, cluster, view, settings, jobs.coming)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(part.run()) for part in (view, jobs, gone, pool)]
            yield jobs
            for task in tasks:
                task.cancel()
