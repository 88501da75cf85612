import asyncio, time, cProfile, pstats, careplan
from .conftest import *
async def test_speed(client, ingest, shared):
    files = careplan.sample_sets()["202407/plan_67_to_provider_a"]
    ingest.runtime.access.rates.sends = lambda *a, **k: None
    ingest.runtime.access.rates.request = lambda *a, **k: None
    async def one(n):
        r = await client.send({"allow_resend": True}, files, key=f"k{n}")
        assert r.status_code == 202, r.text
    for n in range(10): await one(-n-1)
    async def worker(w):
        for n in range(8): await one(w*1000+n)
    t=time.perf_counter(); c=time.process_time()
    await asyncio.gather(*(worker(w) for w in range(1,17)))
    print("RATE", 128/(time.perf_counter()-t), "cpu ms", (time.process_time()-c)/128*1000)
    pr=cProfile.Profile(); pr.enable()
    await asyncio.gather(*(worker(w) for w in range(101,117)))
    pr.disable()
    pstats.Stats(pr).sort_stats("tottime").print_stats(35)
