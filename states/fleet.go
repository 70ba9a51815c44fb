package states

// fleetFunction is the function that gives the nodes of the fleet.
const fleetFunction = "nodes"
