"""The machine a training runs on: processes that train as one, random generators, the allocator."""
