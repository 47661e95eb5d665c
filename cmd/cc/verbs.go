package main

// verbs is the table of all verbs, in the order of `cc help`. Two of them print the table they are in, which
// Go allows between functions only.
func verbs() []*verb {
	return []*verb{
		&runVerb, &psVerb, &statusVerb, &logsVerb, &execVerb, &cpVerb, &waitVerb,
		&startVerb, &stopVerb, &restartVerb, &killVerb, &pauseVerb, &resumeVerb, &renameVerb, &updateVerb, &rmVerb,
		&vpcCreate, &vpcList, &vpcUpdate, &vpcDelete,
		&imagePull, &imageList, &imageLoad, &imageImport, &imageTag, &imageRemove, &imageCollect,
		&volumeCreate, &volumeList, &volumeDelete,
		&containerRun,
		&metricsVerb, &topVerb, &eventsVerb, &inspectVerb, &explainVerb,
		&doctorVerb, helpVerb(), &completionVerb, &versionVerb, completeVerb(),
	}
}
