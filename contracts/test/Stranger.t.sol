// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILedger} from "../src/interfaces/ILedger.sol";
import {ISettings} from "../src/interfaces/ISettings.sol";
import {Signature} from "../src/interfaces/Types.sol";
import {Attacks} from "./Attacks.sol";

/// (T-REX: an agent's key moves a holder's tokens, the owner swaps the rules): there is no agent, owner or guardian.
/// Every function that can change anything is tried by a stranger, by the deployer, by one attester and one appraiser
/// alone, and by the factory; the list is held against the ABIs of the build, so that a function added later is missing
/// here until somebody thinks about it.
contract StrangerTest is Attacks {
    bytes32[4] internal SETTINGS = [bytes32("holdBps"), "useBps", "minLevel", "floorUnits"];

    /// A group of two with units, credits and a lease, and a decision that waits in the timelock.
    function setUp() public override {
        super.setUp();
        address third = _actor("third");
        admit(third);
        skipTo(START + 1);
        (targets, values, calls) = (new address[](1), new uint256[](1), new bytes[](1));
        (targets[0], calls[0]) = (system.ledger, abi.encodeCall(ISettings.change, ("holdBps", GPUS, HOLD_BPS - 500)));
        vm.prank(provider);
        proposal = council.propose(targets, values, calls, "why");
        skipTo(council.proposalSnapshot(proposal) + 1);
        address[3] memory voters = [provider, developer, third];
        for (uint256 i; i < voters.length; ++i) {
            vm.prank(voters[i]);
            council.castVote(proposal, 1);
        }
        skipTo(council.proposalDeadline(proposal) + 1);
        council.queue(targets, values, calls, keccak256("why"));
        attach(affiliate, provider);
        (asset, lease) = leased(8 * GPU, 1_000, 3);
        id = access.creditId(asset, access.currentWindow(), 1);
        buy(id, developer, 1_000);
        skipTo(block.timestamp + 1_000);
    }

    function testNobodyElseChangesAnything() public {
        _plan(machine(GPU), new Signature[](0));
        address[6] memory senders = [
            stranger,
            address(this),
            addressOf(attesterKeys[0]),
            addressOf(appraiserKeys[0]),
            address(factory),
            ledger.registry()
        ];
        bytes32 before = _state();
        for (uint256 i; i < attacks.length; ++i) {
            for (uint256 j; j < senders.length; ++j) {
                uint256 snapshot = vm.snapshotState();
                vm.prank(senders[j]);
                // Whether it reverts does not matter: a call that does nothing to others may well succeed.
                (bool done,) = attacks[i].target.call(attacks[i].data);
                assertEq(_state(), before, string.concat(attacks[i].name, done ? " succeeded" : " failed"));
                vm.revertToStateAndDelete(snapshot);
            }
        }
    }

    /// One signature short of a quorum is none.
    function testOneSignerAloneChangesNothing() public {
        ILedger.Appraisal memory a = machine(GPU);
        _plan(a, sign(_first(appraiserKeys, 1), typed(ledgerDomain(), hashOf(a))));
        bytes32 before = _state();
        for (uint256 i; i < attacks.length; ++i) {
            // The registrant itself is who would gain by registering.
            bool isRegister = keccak256(bytes(attacks[i].name)) == keccak256("register");
            vm.prank(isRegister ? a.registrant : stranger);
            (bool done,) = attacks[i].target.call(attacks[i].data);
            assertEq(_state(), before, string.concat(attacks[i].name, done ? " succeeded" : " failed"));
        }
    }

    /// What waits in the timelock is carried out once it is due, by anyone, and by nobody before.
    function testWhatWaitsIsNotExecutedEarly() public {
        skipTo(council.proposalEta(proposal) - 1);
        (bool done,) = system.council.call(abi.encodeCall(council.execute, (targets, values, calls, keccak256("why"))));
        assertFalse(done);
        skipTo(council.proposalEta(proposal));
        vm.prank(stranger);
        council.execute(targets, values, calls, keccak256("why"));
        assertEq(ledger.classOf(GPUS).holdBps, HOLD_BPS - 500);
    }

    function testEveryFunctionIsTried() public {
        _plan(machine(GPU), new Signature[](0));
        _compare("Members", system.members);
        _compare("Ledger", system.ledger);
        _compare("Registry", ledger.registry());
        _compare("Access", system.access);
        _compare("Meter", system.meter);
        _compare("Council", system.council);
        _compare("Timelock", system.timelock);
        _compare("Factory", address(factory));
    }

    /// The timelock can be sent ether, as it can be sent tokens: what is there is the council's. Nothing else takes any.
    function testNoFunctionTakesEther() public {
        vm.deal(stranger, 6);
        address[6] memory others =
            [system.members, system.ledger, ledger.registry(), system.access, system.meter, system.council];
        for (uint256 i; i < others.length; ++i) {
            vm.prank(stranger);
            (bool done,) = others[i].call{value: 1}("");
            assertFalse(done);
        }
    }

    function _compare(string memory name, address target) private view {
        string memory json = vm.readFile(string.concat("out/", name, ".sol/", name, ".json"));
        uint256 found;
        for (uint256 i; vm.keyExistsJson(json, _place(i, "type")); ++i) {
            if (!vm.keyExistsJson(json, _place(i, "stateMutability"))) continue; // an error or an event
            if (!vm.keyExistsJson(json, _place(i, "name"))) continue; // the constructor
            bytes32 mutability = keccak256(bytes(vm.parseJsonString(json, _place(i, "stateMutability"))));
            if (mutability == keccak256("view") || mutability == keccak256("pure")) continue;

            ++found;
            string memory tried = vm.parseJsonString(json, _place(i, "name"));
            assertTrue(isPlanned(target, tried), string.concat(name, ".", tried, " is not tried"));
        }
        assertGt(found, 0);
    }

    function _place(uint256 i, string memory key) private pure returns (string memory) {
        return string.concat(".abi[", vm.toString(i), "].", key);
    }

    /// All that belongs to somebody, who belongs to whom, and the rules.
    function _state() private view returns (bytes32 state) {
        uint32 window = access.currentWindow();
        address[4] memory people = [provider, developer, affiliate, stranger];
        state = keccak256(
            abi.encode(
                _rules(),
                ledger.assetOf(asset),
                ledger.balanceOf(system.ledger, asset),
                access.issued(asset, window),
                access.leaseOf(lease),
                meter.settledMs(lease),
                coin.balanceOf(system.access)
            )
        );
        for (uint256 i; i < people.length; ++i) {
            state = keccak256(abi.encode(state, _membership(people[i]), _belongings(people[i], window)));
        }
    }

    function _rules() private view returns (bytes32 state) {
        (uint256 accrued, uint256 claimed) = ledger.revenueTotals();
        state = keccak256(
            abi.encode(
                ledger.classIds(),
                ledger.appraisers(),
                ledger.threshold(),
                members.attesters(),
                members.threshold(),
                members.admissionsPerDay(),
                members.groups(),
                accrued,
                claimed,
                council.state(proposal),
                timelock.getTimestamp(_operation()),
                timelock.getMinDelay()
            )
        );
        for (uint256 i; i < SETTINGS.length; ++i) {
            state = keccak256(abi.encode(state, ledger.settingOf(SETTINGS[i], GPUS)));
        }
        state = keccak256(abi.encode(state, _votes(), members.settingOf("admissionsPerDay", 0)));
        return keccak256(
            abi.encode(
                state,
                members.signerReadyAt(stranger),
                ledger.signerReadyAt(stranger),
                timelock.hasRole(timelock.PROPOSER_ROLE(), stranger)
            )
        );
    }

    function _votes() private view returns (bytes32) {
        (uint256 against, uint256 inFavour, uint256 abstain) = council.proposalVotes(proposal);
        return keccak256(abi.encode(against, inFavour, abstain));
    }

    function _membership(address who) private view returns (bytes32) {
        (address controller, uint48 since, uint48 until, bool refusesGifts) = members.memberOf(who);
        return keccak256(abi.encode(_pending(who), controller, since, until, refusesGifts, ledger.heldBy(GPUS, who)));
    }

    function _pending(address who) private view returns (bytes32) {
        (address successor, uint48 readyAt) = members.recoveryOf(who);
        return keccak256(abi.encode(successor, readyAt, members.detachmentOf(who), coin.balanceOf(who)));
    }

    function _belongings(address who, uint32 window) private view returns (bytes32) {
        uint256 acquired = access.acquiredBy(GPUS, window, who);
        uint256 redeemed = access.redeemedBy(GPUS, window, who);
        return keccak256(abi.encode(ledger.balanceOf(who, asset), access.balanceOf(who, id), acquired, redeemed));
    }
}
