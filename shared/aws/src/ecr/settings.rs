//! The settings that hold for all repositories of a registry.

use aws_sdk_ecr::types::{
    RegistryScanningRule, ReplicationRule as EcrRule, RepositoryFilterType, ScanType, ScanningRepositoryFilterType,
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata as _;

use super::registry::EcrRegistry;
use crate::error::{found, malformed, plain, port_error, present, refusal};
use guard_core::{
    finding::ScanMode,
    ids::{InvalidId, RegistryKey},
    registry::{ReplicationRule, ScanRule},
};
use guard_ports::{PortError, Retry};

impl EcrRegistry {
    /// `ecr:GetRegistryScanningConfiguration`. A type that we do not know counts as enhanced, with which the repository's own flag
    /// is not enough.
    pub(super) async fn scanning(&self) -> Result<(ScanMode, Vec<ScanRule>), PortError> {
        const OPERATION: &str = "ecr:GetRegistryScanningConfiguration";
        let output = self
            .ecr
            .client
            .get_registry_scanning_configuration()
            .send()
            .await
            // `InvalidParameterException`, `ServerException`, `ValidationException`, and what is not modelled.
            .map_err(|error| port_error(OPERATION, &error))?;
        let unsaid = || malformed(OPERATION, "the answer does not say how the registry scans");
        let configuration = output.scanning_configuration.ok_or_else(unsaid)?;
        let mode = match configuration.scan_type().ok_or_else(unsaid)? {
            ScanType::Basic => ScanMode::Basic,
            _ => ScanMode::Enhanced,
        };
        let rules = configuration.rules().iter().enumerate();
        let rules = rules.map(|(n, rule)| scan_rule(n, rule)).collect::<Result<_, _>>();
        Ok((mode, rules.map_err(|why| unreadable_setting(OPERATION, &why))?))
    }

    /// `ecr:DescribeRegistry`. A registry that was never configured has no rules.
    pub(super) async fn replication(&self) -> Result<Vec<ReplicationRule>, PortError> {
        const OPERATION: &str = "ecr:DescribeRegistry";
        let output = self
            .ecr
            .client
            .describe_registry()
            .send()
            .await
            // `InvalidParameterException`, `ServerException`, `ValidationException`, and what is not modelled.
            .map_err(|error| port_error(OPERATION, &error))?;
        match output.replication_configuration() {
            Some(configuration) => {
                let rules = configuration.rules().iter().enumerate();
                let rules = rules
                    .map(|(n, rule)| replication_rule(n, rule))
                    .collect::<Result<_, _>>();
                rules.map_err(|why| unreadable_setting(OPERATION, &why))
            }
            None if output.registry_id() == Some(self.ecr.account.as_str()) => Ok(Vec::new()),
            None => Err(malformed(OPERATION, "the answer does not describe the registry")),
        }
    }

    /// `ecr:GetSigningConfiguration`: how many rules there are. A registry without a configuration has none, and so has one where
    /// ECR does not know the operation.
    pub(super) async fn signing_rules(&self) -> Result<usize, PortError> {
        const OPERATION: &str = "ecr:GetSigningConfiguration";
        let result = self.ecr.client.get_signing_configuration().send().await;
        // `InvalidParameterException`, `ServerException`, `ValidationException` are failures.
        let output = found(OPERATION, result, |error| {
            // Where ECR does not sign. Source: "Common errors" in the API reference of ECR, which has both words.
            let is_unknown_call = matches!(error.code(), Some("UnknownOperationException" | "InvalidAction"));
            error.is_signing_configuration_not_found_exception() || is_unknown_call
        })?;
        let Some(output) = output else { return Ok(0) };
        let configuration = present(OPERATION, output.signing_configuration(), "the configuration")?;
        Ok(configuration.rules().len())
    }
}

/// A rule of the scanning configuration. A filter of a kind that we do not know may match anything or nothing.
fn scan_rule(n: usize, rule: &RegistryScanningRule) -> Result<ScanRule, String> {
    let filters = rule.repository_filters().iter().enumerate();
    Ok(ScanRule {
        frequency: plain(rule.scan_frequency().as_str(), 64),
        filters: filters
            .map(|(m, filter)| match filter.filter_type() {
                ScanningRepositoryFilterType::Wildcard => text(n, m, filter.filter()),
                other => Err(unknown(n, m, other.as_str())),
            })
            .collect::<Result<_, _>>()?,
    })
}

/// A rule of the replication configuration; the same holds for its filters.
fn replication_rule(n: usize, rule: &EcrRule) -> Result<ReplicationRule, String> {
    let destinations = rule.destinations().iter().enumerate().map(|(m, destination)| {
        let place = |error: InvalidId| format!("`rules[{n}].destinations[{m}]`: {error}");
        Ok(RegistryKey {
            account: destination.registry_id().parse().map_err(place)?,
            region: destination.region().parse().map_err(place)?,
        })
    });
    let filters = rule.repository_filters().iter().enumerate();
    let prefixes = filters.map(|(m, filter)| match filter.filter_type() {
        RepositoryFilterType::PrefixMatch => text(n, m, filter.filter()),
        other => Err(unknown(n, m, other.as_str())),
    });
    Ok(ReplicationRule {
        destinations: destinations.collect::<Result<_, String>>()?,
        prefixes: prefixes.collect::<Result<_, _>>()?,
    })
}

/// The text of a filter. The SDK gives an empty one where the answer has none, which would match everything.
fn text(rule: usize, filter: usize, text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err(format!("`rules[{rule}].repositoryFilters[{filter}].filter` is empty"));
    }
    Ok(text.to_owned())
}

fn unknown(rule: usize, filter: usize, kind: &str) -> String {
    format!("`rules[{rule}].repositoryFilters[{filter}].filterType` is `{kind}`, which this version does not know")
}

fn unreadable_setting(operation: &'static str, why: &str) -> PortError {
    refusal(operation, Retry::Never, "UnreadableSetting", why)
}
