"""How a service hears, keeps and says: the only home of the engines. Services build on this and on nothing lower."""
